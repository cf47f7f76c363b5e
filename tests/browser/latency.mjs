/** The latency page: live and kept, by stage, as a picture and as a table; and the overview's last hour. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signUp } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, launch, visit } from "./support/browser.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Publishes on the first-message page, where signing up ends, and which is also subscribed. */
async function send(page) {
  await page.getByText("Subscribed", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Send it from here" }).click();
  await page.getByTestId("received").getByText('greet "hi"').waitFor();
}

test("a message that was sent is in the kept latencies, by stage", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  await send(page);

  await page.goto(`${controlUrl}/apps/${app}/latency?range=1h`);
  await page.getByRole("heading", { level: 1, name: "Latency" }).waitFor();
  const delivered = page.getByRole("row", { name: /Published to delivered/ });
  // Figures are written every ten seconds; the page asks again each time it is opened.
  for (let tries = 0; tries < 60 && !/\b1\b/.test(await delivered.getByRole("cell").first().innerText()); tries += 1) {
    await page.waitForTimeout(1_000);
    await page.reload();
    await delivered.waitFor();
  }
  assert.match(await delivered.getByRole("cell").first().innerText(), /\b1\b/);
  assert.match(await delivered.getByRole("cell").last().innerText(), /^[\d.,]+$/);
  assert.ok((await page.locator("path.heat").evaluateAll((paths) => paths.filter((path) => path.getAttribute("d")).length)) > 0);
  await accessible(page, "kept latencies");

  await page.getByRole("link", { name: "Append" }).click();
  await page.waitForURL(/stage=append/);
  await page.getByRole("heading", { level: 2, name: /^Append/ }).waitFor();
  await page.getByRole("button", { name: "Append as a table" }).click();
  await page.getByRole("columnheader", { name: "p99", exact: true }).waitFor();
  await accessible(page, "kept latencies as a table");

  await page.getByRole("link", { name: "30 d" }).click();
  await page.waitForURL(/range=30d/);
  await page.getByRole("row", { name: /Published to delivered/ }).waitFor();

  await page.goto(`${controlUrl}/apps/${app}`);
  await page.getByRole("link", { name: "1 h" }).waitFor();
  await page.locator(".chart-line.series-1").first().waitFor({ state: "attached" });
  clean(faults);
  await context.close();
});
