/** Chromium, and pages that remember everything that went wrong in them. */
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** How long anything that must come may take to come. */
export const PATIENCE_MS = 60_000;

/** The dashboard, without a slash at its end. */
export const controlUrl = need("CONTROL_URL").replace(/\/$/, "");
/** An app that the platform made at its first start, and its key. */
export const appUrl = need("FANFARE_URL").replace(/\/$/, "");
export const appKey = need("FANFARE_KEY");
export const gatewayUrl = new URL(appUrl).origin;

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`cargo xtask test browser\` sets it`);
  return value;
}

/** A browser for one file of tests. */
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/**
 * A page of a fresh visitor. `faults` collects uncaught errors, refused resources and complaints on the console.
 * @param {import("playwright-core").Browser} browser
 */
export async function visit(browser, options = {}) {
  // Without motion, so that no colour is judged on its way to another.
  const still = { viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" };
  const context = await browser.newContext({ ...still, ...options });
  // How long a page may take is measured elsewhere; here it has to get there, also on a machine with much else to do.
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const faults = watch(page);
  return { context, page, faults };
}

/** @param {import("playwright-core").Page} page */
export function watch(page) {
  const faults = [];
  page.on("pageerror", (error) => faults.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    // The browser notes every answer above 399 by itself; tests that provoke one look at what the page says of it.
    if (message.text().startsWith("Failed to load resource")) return;
    faults.push(`${message.type()}: ${message.text()}`);
  });
  return faults;
}

/** Nothing went wrong that the page did not handle. */
export function clean(faults) {
  assert.deepEqual(faults, [], "the console is silent");
}
