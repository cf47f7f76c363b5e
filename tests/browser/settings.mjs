/** Channel settings and limits in the dashboard: by keyboard and mouse, with the server's word at the field. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, launch, visit } from "./support/browser.mjs";

const folder = process.env.SCREENSHOTS;

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
});
after(() => browser?.close());

/** @param {import("playwright-core").Page} page */
async function judge(page, name) {
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  await accessible(page, name);
}

test("settings are added, refused at their field, changed and removed", async () => {
  const { page, faults } = await visit(browser);
  await signUp(page, stranger());
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
  await page.getByText("The defaults hold everywhere").waitFor();

  await page.getByRole("button", { name: "Add settings" }).press("Enter");
  const adding = page.getByRole("dialog", { name: "Add settings" });
  const pattern = adding.getByLabel("Channels");
  assert.ok(await pattern.evaluate((input) => input === document.activeElement), "typing starts at the pattern");
  await pattern.fill("prices:**:x");
  await adding.getByLabel("Per second").fill("many");
  await adding.getByRole("button", { name: "Save settings" }).click();
  assert.equal(await pattern.getAttribute("aria-invalid"), "true");
  assert.equal(await adding.getByLabel("Per second").getAttribute("aria-invalid"), "true");
  await judge(page, "settings-wrong");

  await pattern.fill("$own:*");
  await adding.getByLabel("Per second").fill("10");
  await adding.getByRole("button", { name: "Save settings" }).click();
  await adding.getByText("channels that start with $ are Fanfare's own").waitFor();
  await pattern.fill("prices:**");
  const durability = adding.getByLabel("Acknowledged once it is");
  await durability.selectOption("replicated");
  await adding.getByLabel("Seconds", { exact: true }).fill("0");
  await adding.getByRole("button", { name: "Save settings" }).click();
  await adding.getByText("on no second machine").waitFor();
  assert.equal(await durability.getAttribute("aria-invalid"), "true");
  await judge(page, "settings-replicated");
  await adding.getByLabel("Seconds", { exact: true }).fill("120");
  await adding.getByLabel("Slow subscribers").selectOption("conflate");
  await adding.getByText("the newest value counts").waitFor();
  await adding.getByRole("button", { name: "Save settings" }).click();
  await adding.waitFor({ state: "hidden" });
  const row = page.getByRole("row", { name: /prices:\*\*/ });
  await row.getByText("conflate", { exact: true }).waitFor();
  await row.getByText("10/s, 10 at once").waitFor();
  await row.getByText("replicated", { exact: true }).waitFor();

  await row.getByRole("button", { name: "Change prices:**" }).click();
  const changing = page.getByRole("dialog", { name: "Change settings" });
  assert.equal(await changing.getByLabel("Slow subscribers").inputValue(), "conflate");
  await changing.getByLabel("Presence").uncheck();
  await changing.getByRole("button", { name: "Save settings" }).click();
  await row.getByText("presence off").waitFor();
  await judge(page, "settings-one");

  await row.getByRole("button", { name: "Remove the settings of prices:**" }).click();
  await page.getByRole("dialog", { name: "Remove settings" }).getByRole("button", { name: "Remove settings" }).click();
  await page.getByText("The defaults hold everywhere").waitFor();
  clean(faults);
});

test("settings that somebody else changed meanwhile are not overwritten", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page, stranger());
  await page.goto(`${controlUrl}/apps/${app}/settings`);
  await page.getByRole("button", { name: "Add settings" }).click();
  await page.getByRole("dialog").getByLabel("Channels").fill("mine:*");
  const theirs = await context.request.put(`${controlUrl}/api/v1/apps/${app}/channel-settings`, {
    headers: { "x-fanfare-csrf": "1", "if-match": '"v1"', origin: controlUrl },
    data: { settings: [{ pattern: "theirs:*" }] },
  });
  assert.equal(theirs.status(), 200);
  await page.getByRole("dialog").getByRole("button", { name: "Save settings" }).click();
  await page.getByRole("dialog").getByRole("alert").getByRole("link", { name: "What this means" }).waitFor();
  clean(faults);
});

test("a limit is lowered, refused above the plan, and taken back", async () => {
  const { page, faults } = await visit(browser);
  await signUp(page, stranger());
  await page.getByRole("link", { name: "Limits" }).click();
  await page.getByRole("heading", { level: 1, name: "Limits" }).waitFor();
  const row = page.getByRole("row", { name: /^subscriptions / });
  await row.getByRole("button", { name: "Lower subscriptions" }).press("Enter");
  const dialog = page.getByRole("dialog", { name: "Lower subscriptions" });
  const number = dialog.getByLabel("Number");
  await number.fill("99999999");
  await dialog.getByRole("button", { name: "Lower limit" }).click();
  await dialog.getByText("limits are lowered here, not raised").waitFor();
  await judge(page, "limits-wrong");
  await number.fill("20");
  await dialog.getByRole("button", { name: "Lower limit" }).click();
  await dialog.waitFor({ state: "hidden" });
  await row.getByText("lowered by you").waitFor();
  await row.getByRole("button", { name: "Lower subscriptions" }).click();
  await dialog.getByRole("button", { name: "Take back" }).click();
  await row.getByText("lowered by you").waitFor({ state: "hidden" });
  clean(faults);
});
