/** Connections in the dashboard: listed, narrowed by the URL, seen from near, closed. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signUp } from "./support/account.mjs";
import { clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";
import { backend, change, clients } from "./support/clients.mjs";
import { judge } from "./support/looks.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const rowOf = (page, connection) =>
  page.getByRole("row").filter({ has: page.locator(`a[href$="/connections/${connection}"]`) });

test("connections are listed, narrowed by user and channel in the URL, and newer ones are added below", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  const ann = await people.connect({ token: await server.token("ann", ["room:*"], { meta: { plan: "gold" } }), channels: ["room:1", "room:2", "room:9"] });
  const bob = await people.connect({ token: await server.token("bob", ["room:*"]), channels: ["room:9"] });
  const guest = await people.connect({ channels: ["demo:hello"] });

  await page.getByRole("link", { name: "Connections" }).click();
  await page.getByRole("heading", { level: 1, name: "Connections" }).waitFor();
  const row = rowOf(page, ann.connection);
  await row.getByText("ann", { exact: true }).waitFor();
  await row.getByText("websocket").waitFor();
  await row.getByText("and 1 more").waitFor();
  await rowOf(page, guest.connection).getByText("anonymous").waitFor();
  await page.getByText("you, in this dashboard").waitFor();
  await judge(page, "connections");

  // By keyboard from row to row.
  const links = page.locator(".row-link");
  await links.first().focus();
  await page.keyboard.press("ArrowDown");
  assert.ok(await links.nth(1).evaluate((link) => link === document.activeElement));
  await page.keyboard.press("End");
  assert.ok(await links.last().evaluate((link) => link === document.activeElement));

  await page.getByLabel("Channel").fill("room:9");
  await page.getByLabel("Channel").press("Enter");
  await page.waitForURL(/\?channel=room%3A9$/);
  await rowOf(page, guest.connection).waitFor({ state: "detached" });
  await rowOf(page, bob.connection).waitFor();
  await page.getByLabel("User").fill("bob");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.waitForURL(/\?user=bob&channel=room%3A9$/);
  await rowOf(page, ann.connection).waitFor({ state: "detached" });
  await page.getByText("As curl").click();
  await page.getByText(`${gatewayUrl}/v1/apps/${app}/connections?user=bob&channel=room%3A9`).waitFor();
  await judge(page, "connections-narrowed");
  await page.getByRole("link", { name: "Remove the filter User bob" }).click();
  await page.waitForURL(/\?channel=room%3A9$/);
  await rowOf(page, ann.connection).waitFor();
  await page.goBack();
  await rowOf(page, ann.connection).waitFor({ state: "detached" });
  assert.equal(await page.getByLabel("User").inputValue(), "bob");

  await page.goto(`${controlUrl}/apps/${app}/connections?user=bob`);
  await rowOf(page, bob.connection).waitFor();
  const late = await people.connect({ token: await server.token("bob", ["room:*"]) });
  assert.equal(await rowOf(page, late.connection).count(), 0, "nothing jumps into the list by itself");
  await page.getByRole("button", { name: "Load newer" }).click();
  await rowOf(page, late.connection).waitFor();
  await page.getByRole("button", { name: "Load newer" }).click();
  await page.getByText("Nobody came since").waitFor();
  assert.equal(await page.getByRole("row").count(), 3);

  await page.goto(`${controlUrl}/apps/${app}/connections?user=eve`);
  await page.getByText("No connection matches").waitFor();
  await judge(page, "connections-none");
  clean(faults);
  await people.close();
});

test("a connection is seen from near, and closed after its number was said", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  const token = await server.token("ann", ["room:*"], { meta: { plan: "gold" }, limits: { subscriptions: 4 } });
  const ann = await people.connect({ token, channels: ["room:1", "room:2", "room:9", "room:10"] });
  const { position } = await server.publish("room:9", { data: "hi" });

  await page.goto(`${controlUrl}/apps/${app}/connections?user=ann`);
  await rowOf(page, ann.connection).getByRole("link").first().press("Enter");
  await page.getByRole("heading", { level: 1, name: "Connection", exact: true }).waitFor();
  await page.getByText("4 of 4, 100 %, full").waitFor();
  await page.getByText('"plan": "gold"').waitFor();
  await page.getByRole("row", { name: /^room:9/ }).getByText(position).waitFor();
  await page.getByRole("row", { name: /^room:9/ }).getByText("Live").waitFor();
  await judge(page, "connection");

  await page.getByRole("button", { name: "Disconnect" }).click();
  const dialog = page.getByRole("dialog", { name: "Disconnect" });
  await dialog.getByText("This closes 1 connection, which has 4 subscriptions,").waitFor();
  await judge(page, "connection-disconnect");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Disconnect" }).click();
  await dialog.getByRole("button", { name: "Disconnect" }).click();
  assert.equal(await ann.closed(), 4203);
  await page.getByText("This connection has ended").waitFor();
  await judge(page, "connection-ended");

  await page.goto(`${controlUrl}/apps/${app}/connections/${ann.connection}`);
  await page.getByText("There is no such connection").waitFor();
  await page.goto(`${controlUrl}/apps/${app}/connections/nonsense`);
  await page.getByRole("heading", { level: 1, name: "Not found" }).waitFor();
  clean(faults);
  await people.close();
});

test("all connections of a user are closed by typing the name, under the number", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  const token = await server.token("ann", ["room:*"]);
  const both = [await people.connect({ token }), await people.connect({ token })];
  const bob = await people.connect({ token: await server.token("bob", ["room:*"]), channels: ["room:9"] });

  await page.goto(`${controlUrl}/apps/${app}/connections`);
  await rowOf(page, bob.connection).waitFor();
  assert.equal(await page.getByRole("button", { name: "Disconnect all" }).count(), 0, "not the whole app");
  await page.getByLabel("User").fill("ann");
  await page.getByLabel("User").press("Enter");
  await page.getByRole("button", { name: "Disconnect all" }).click();
  const dialog = page.getByRole("dialog", { name: "Disconnect" });
  await dialog.getByText("This closes 2 connections of ann").waitFor();
  const confirm = dialog.getByRole("button", { name: "Disconnect" });
  assert.ok(await confirm.isDisabled());
  await dialog.getByLabel("Name of the user").fill("ann");
  await judge(page, "connections-disconnect");
  await confirm.click();
  assert.deepEqual(await Promise.all(both.map((one) => one.closed())), [4203, 4203]);
  await page.getByText("No connection matches").waitFor();
  const log = await context.request.get(`${controlUrl}/api/v1/tenants/${await tenantOf(context)}/audit`);
  const [last] = (await log.json()).items;
  assert.deepEqual([last.action, last.after], ["connections.disconnect", { disconnect_user: "ann" }]);
  await page.goto(`${controlUrl}/apps/${app}/connections?channel=room%3A9`);
  await rowOf(page, bob.connection).waitFor();
  clean(faults);
  await people.close();
});

test("the page works where the app lists other origins, and says when the gateway is away", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  await change(context, "PATCH", `/apps/${app}`, { origins: ["https://shop.example"] }, { "if-match": '"v1"' });
  await page.goto(`${controlUrl}/apps/${app}/connections`);
  await page.getByRole("button", { name: "Live link: Live" }).waitFor();
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("you, in this dashboard").waitFor();
  clean(faults);

  await page.route(`${gatewayUrl}/v1/apps/**`, (route) => route.abort());
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText(/^Old: of /).waitFor();
  await page.getByText("you, in this dashboard").waitFor();
  await judge(page, "connections-stale");
  await page.goto(`${controlUrl}/apps/${app}/connections`);
  await page.getByText("The gateway cannot be reached").waitFor();
  await judge(page, "connections-away");
  await page.unroute(`${gatewayUrl}/v1/apps/**`);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText(/^As of /).or(page.getByText("Nobody is connected")).first().waitFor();
});

/** The tenant of whoever is signed in. */
async function tenantOf(context) {
  const session = await context.request.get(`${controlUrl}/api/v1/session`);
  return (await session.json()).tenants[0].id;
}

test("a viewer looks and closes nothing", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  const ann = await people.connect({ token: await server.token("ann", ["room:*"]) });
  // Nobody can be invited yet, so the page is told that its reader is a viewer.
  await page.route(`${controlUrl}/api/v1/session`, async (route) => {
    const answer = await route.fetch();
    const session = await answer.json();
    session.tenants[0].role = "viewer";
    await route.fulfill({ response: answer, json: session });
  });
  await page.goto(`${controlUrl}/apps/${app}/connections?user=ann`);
  await rowOf(page, ann.connection).getByRole("link").first().click();
  await page.getByText("Disconnecting needs the role developer or above.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Disconnect" }).count(), 0);
  clean(faults);
  await people.close();
});
