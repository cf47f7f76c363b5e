/** Channels in the dashboard: listed, opened, looked at as they go on, their history read and deleted. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signUp } from "./support/account.mjs";
import { clean, controlUrl, launch, visit } from "./support/browser.mjs";
import { backend, change, clients } from "./support/clients.mjs";
import { judge } from "./support/looks.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("channels in use are listed by name, narrowed in the URL, and any other is opened", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  await page.getByRole("link", { name: "Channels" }).click();
  await page.getByRole("heading", { level: 1, name: "Channels" }).waitFor();
  await page.getByText("No channel is in use").waitFor();
  await judge(page, "channels-none");

  const people = await clients(browser, app);
  const token = await server.token("ann", ["**"]);
  await people.connect({ token, channels: ["room:1", "room:9", "hall:1"] });
  await people.connect({ token, channels: ["room:9"] });
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByRole("row", { name: /^room:9/ }).getByRole("cell", { name: "2", exact: true }).waitFor();
  await judge(page, "channels");
  await page.locator(".row-link").first().focus();
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "room:1");

  await page.getByLabel("Name begins with").fill("room:");
  await page.getByLabel("Name begins with").press("Enter");
  await page.waitForURL(/\?prefix=room%3A$/);
  await page.getByRole("row", { name: /^hall:1/ }).waitFor({ state: "detached" });
  await page.getByRole("row", { name: /^room:9/ }).getByRole("link", { name: "Connections on room:9" }).click();
  await page.waitForURL(/\/connections\?channel=room%3A9$/);
  await page.getByRole("row").nth(2).waitFor();
  assert.equal(await page.getByRole("row").count(), 3);

  await page.goto(`${controlUrl}/apps/${app}/channels?prefix=zoo`);
  await page.getByText("No channel in use begins so").waitFor();
  const open = page.getByLabel("Open a channel by its name");
  await open.fill("a b");
  await open.press("Enter");
  await page.getByText("the character at byte 1 is not allowed").waitFor();
  assert.equal(await open.getAttribute("aria-invalid"), "true");
  await open.fill("zoo/a");
  await open.press("Enter");
  await page.waitForURL(/channels\/one\?name=zoo%2Fa$/);
  await page.getByText("Nothing is kept").waitFor();
  clean(faults);
  await people.close();
});

test("a channel shows who is present, what applies and what it keeps, and its history goes when it is named", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  await change(
    context,
    "PUT",
    `/apps/${app}/channel-settings`,
    { settings: [{ pattern: "room:*", history: { ttl_ms: 600_000, messages: 5_000, bytes: 1_048_576 } }] },
    { "if-match": '"v1"' },
  );
  const ann = await people.connect({
    token: await server.token("ann", ["room:*"], { info: { name: "Ann" } }),
    channels: ["room:9"],
    enter: { channel: "room:9", action: "enter", data: { mood: "up" } },
  });
  for (let number = 1; number <= 60; number += 1) {
    await server.publish("room:9", { name: "price", data: number, ...(number === 60 ? { headers: { unit: "EUR" } } : {}) });
  }
  await server.publish("room:9", { name: "long", data: { text: "x".repeat(400) } });

  await page.goto(`${controlUrl}/apps/${app}/channels/one?name=room%3A9`);
  await page.getByRole("heading", { level: 1, name: "Channel", exact: true }).waitFor();
  await page.getByRole("heading", { name: "Present" }).waitFor();
  const member = page.getByRole("list", { name: "Members" }).getByRole("listitem");
  await member.getByText("ann", { exact: true }).waitFor();
  await member.getByText('{"mood":"up"}').waitFor();
  await page.getByText("the pattern room:*").waitFor();
  await page.getByText("10 min, 5,000 messages, 1 MiB").waitFor();
  const newest = page.getByRole("row", { name: /^60 / });
  await newest.getByText("unit: EUR").waitFor();
  await page.getByRole("row", { name: /^61 / }).locator("summary").click();
  await judge(page, "channel");
  assert.equal(await page.getByRole("row", { name: /^2 / }).count(), 0, "fifty at a time");
  await page.getByRole("button", { name: "Load older" }).click();
  await page.getByRole("row", { name: /^1 / }).waitFor();
  await page.getByRole("button", { name: "Load older" }).waitFor({ state: "detached" });

  // What comes is counted and does not move what is read.
  await server.publish("room:9", { data: "late" });
  await page.getByRole("button", { name: "Load 1 newer message" }).click();
  await page.getByRole("row", { name: /^62 / }).getByText('"late"').waitFor();
  await ann.say("presence", { channel: "room:9", action: "leave" });
  await page.getByText("Nobody has entered").waitFor();

  await page.getByRole("button", { name: "Delete history" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete history" });
  await dialog.getByText("This deletes 62 messages that room:9 keeps.").waitFor();
  const confirm = dialog.getByRole("button", { name: "Delete history" });
  await dialog.getByLabel("Name of the channel").fill("room:8");
  assert.ok(await confirm.isDisabled());
  await dialog.getByLabel("Name of the channel").fill("room:9");
  await judge(page, "channel-delete");
  await confirm.click();
  await page.getByText("Nothing is kept").waitFor();
  const kept = await server.ok("GET", "/channels/room:9");
  assert.equal(kept.messages, 0);
  await judge(page, "channel-empty");

  await page.goto(`${controlUrl}/apps/${app}/channels/one?name=%24stats%3Aoverview`);
  await page.getByRole("heading", { level: 1, name: "Not found" }).waitFor();
  clean(faults);
  await people.close();
});
