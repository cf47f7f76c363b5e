/** Accessibility, judged by axe-core. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * No violation of WCAG 2.2 A and AA, nor of axe's best practices, on the page as it stands.
 * @param {import("playwright-core").Page} page
 */
export async function accessible(page, what) {
  // A change of scheme, or of what a button may do, reaches its colours in a transition, however short: what is judged is
  // where they arrive.
  await page.evaluate(async () => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const running = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
    // One that is cut short by another is not waited for.
    await Promise.allSettled(running.map((transition) => transition.finished));
  });
  // Through the debugger: the page's own policy admits no foreign script.
  await page.evaluate(source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.map((node) => node.html).join("\n    ")}`);
  assert.deepEqual(told, [], `${what} has ${violations.length} violations:\n  ${told.join("\n  ")}`);
}
