/** Access in the dashboard: rules saved and refused, the tester's layers, versions compared and put in force again. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { signIn, signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";

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
  const { wide, seen } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    seen: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= seen, `${name} is ${wide} px wide in a window of ${seen}`);
  await accessible(page, name);
}

/** Adds a rule to the document with the form below the table. */
async function addRule(page, { effect = "allow", who, channels, operations = ["subscribe"] }) {
  const form = page.locator("form").filter({ hasText: "Add a rule" });
  await form.getByLabel("Effect").selectOption(effect);
  await form.getByLabel("Who").fill(who);
  await form.getByLabel("Channels").fill(channels);
  for (const operation of ["subscribe", "publish", "presence", "presence.read", "history"]) {
    await form.getByLabel(operation, { exact: true }).setChecked(operations.includes(operation));
  }
  await form.getByRole("button", { name: "Add rule" }).click();
}

test("rules are tested, every layer answers, and an earlier version is compared and put in force again", async () => {
  const { page, faults } = await visit(browser);
  await signUp(page, stranger());
  await page.getByRole("link", { name: "Access" }).first().click();
  await page.getByRole("heading", { level: 1, name: "Access" }).waitFor();
  await addRule(page, { who: "identified", channels: "room:*", operations: ["subscribe", "publish"] });
  await addRule(page, { effect: "deny", who: "user:ann", channels: "room:9", operations: ["publish"] });
  await page.getByText("Not saved yet.").waitFor();

  await page.getByRole("link", { name: "Tester" }).press("Enter");
  await page.waitForURL(/part=tester/);
  await page.getByText("The saved rules answer").waitFor();
  await page.getByRole("link", { name: "Rules", exact: true }).click();
  await page.getByText("Not saved yet.").waitFor();
  await page.getByRole("button", { name: "Save rules" }).click();
  await page.getByText("Saved. Live connections follow within a second.").waitFor();

  await page.getByRole("link", { name: "Tester" }).click();
  const verdict = page.getByTestId("verdict");
  await page.getByLabel("Channel", { exact: true }).fill("room:9");
  await page.getByRole("button", { name: "Test", exact: true }).press("Enter");
  await verdict.getByText("A client without a token may not subscribe on").waitFor();
  await verdict.getByText("No rule allows subscribe").waitFor();
  await page.getByLabel("The client has").selectOption({ index: 1 });
  await page.getByLabel("User").fill("ann");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await verdict.getByText("The user ann may subscribe on").waitFor();
  await page.getByLabel("Operation").selectOption("publish");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await verdict.getByText("Refused by deny rules: publish is denied by the rule rul_").waitFor();
  await page.getByText("Deny user:ann publish on").waitFor();
  await judge(page, "access-tester");
  await page.getByLabel("The token has a cap").check();
  await page.getByLabel("Channels").last().fill("{team}:*");
  await page.getByLabel("Other claims").fill("team blue");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("one claim a line").waitFor();
  await page.getByLabel("Other claims").fill("team = blue");
  await page.getByLabel("Channel", { exact: true }).fill("a b");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.locator("#test-channel[aria-invalid=true]").waitFor();
  await judge(page, "access-tester-wrong");
  await page.getByLabel("Channel", { exact: true }).fill("blue:1");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await verdict.getByText("Refused by token’s cap: No pattern gives publish").waitFor();

  await page.getByRole("link", { name: "Versions" }).click();
  await page.getByRole("row", { name: /^2 In force/ }).waitFor();
  await judge(page, "access-versions");
  await page.getByRole("button", { name: "Compare version 1" }).press("Enter");
  const dialog = page.getByRole("dialog", { name: "Version 1" });
  await dialog.getByText("Removed", { exact: true }).first().waitFor();
  assert.equal(await dialog.getByText("Removed", { exact: true }).count(), 2);
  await judge(page, "access-compared");
  await dialog.getByRole("button", { name: "Put in force again" }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByRole("row", { name: /^3 In force/ }).waitFor();
  await page.getByRole("link", { name: "Rules", exact: true }).click();
  assert.equal(await page.getByRole("row", { name: /room:/ }).count(), 0, "the editor shows what is in force");
  clean(faults);
});

test("rules that somebody else saved meanwhile are not overwritten, and nobody's are lost unsaid", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page, stranger());
  await page.goto(`${controlUrl}/apps/${app}/access`);
  await addRule(page, { who: "everyone", channels: "mine:*" });
  const theirs = await context.request.put(`${controlUrl}/api/v1/apps/${app}/acl`, {
    headers: { "x-fanfare-csrf": "1", "if-match": '"v1"', origin: controlUrl },
    data: { rules: [] },
  });
  assert.equal(theirs.status(), 200);
  await page.getByRole("button", { name: "Save rules" }).click();
  await page.getByText("Somebody else saved other rules").waitFor();
  await page.getByRole("row", { name: /mine:/ }).waitFor();
  await page.getByRole("button", { name: "Discard mine and read theirs" }).click();
  await page.getByText("No rules", { exact: true }).waitFor();
  clean(faults);
});

test("an unsaved change is tried on what clients did in the last day", async () => {
  const { page, context, faults } = await visit(browser, { reducedMotion: "reduce" });
  const { app } = await signUp(page, stranger());
  await page.goto(`${controlUrl}/apps/${app}/access`);
  await page.getByRole("row", { name: /demo:/ }).waitFor();
  // Somebody without a token subscribes where the first rule allows it.
  await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, "fanfare.v1.json");
        socket.onopen = () => socket.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"demo:lobby"}}');
        socket.onmessage = ({ data }) => data.includes('"id":2') && resolve();
      }),
    `${gatewayUrl.replace("http", "ws")}/v1/apps/${app}/socket`,
  );
  const run = page.getByTestId("dry-run");
  const refused = page.getByRole("table", { name: "Would be refused" });
  await addRule(page, { effect: "deny", who: "anonymous", channels: "demo:lobby" });
  // Nodes tell what was decided every second.
  for (let tries = 0; tries < 20 && !(await refused.isVisible()); tries += 1) {
    await run.waitFor();
    await page.getByRole("button", { name: "Discard changes" }).click();
    await run.waitFor({ state: "hidden" });
    await addRule(page, { effect: "deny", who: "anonymous", channels: "demo:lobby" });
    await page.waitForTimeout(1_000);
  }
  await run.getByText(/would have been refused that are allowed now/).waitFor();
  const row = refused.getByRole("row", { name: /demo:lobby/ });
  await row.getByText("rule 2 denies it").waitFor();
  await judge(page, "access-dry-run");
  await page.setViewportSize({ width: 390, height: 900 });
  await judge(page, "access-dry-run-390");
  clean(faults);
  await context.close();
});

test("the tester and the versions, dark and light, narrow", async () => {
  const person = stranger();
  const first = await visit(browser);
  const { app } = await signUp(first.page, person);
  await first.context.close();
  for (const colorScheme of ["dark", "light"]) {
    const look = { colorScheme, viewport: { width: 390, height: 900 }, reducedMotion: "reduce" };
    const { page, context, faults } = await visit(browser, look);
    await signIn(page, person);
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    await page.goto(`${controlUrl}/apps/${app}/access?part=tester`);
    await page.getByRole("button", { name: "Test", exact: true }).click();
    await page.getByTestId("verdict").getByText("may subscribe on").waitFor();
    await judge(page, `access-tester-${colorScheme}-390`);
    await page.goto(`${controlUrl}/apps/${app}/access?part=versions`);
    await page.getByRole("row", { name: /1.*In force/ }).waitFor();
    await judge(page, `access-versions-${colorScheme}-390`);
    clean(faults);
    await context.close();
  }
});
