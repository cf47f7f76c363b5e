/** The console: what happens in the app as it happens, narrowed, paused, and one event by its link. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signUp } from "./support/account.mjs";
import { clean, controlUrl, launch, visit } from "./support/browser.mjs";
import { backend, clients } from "./support/clients.mjs";
import { judge } from "./support/looks.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const row = (page, ...texts) => texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator("tbody tr"));

test("the console shows what happens, why something is refused, and no payload", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  const people = await clients(browser, app);
  await page.getByRole("link", { name: "Console" }).click();
  await page.getByRole("heading", { level: 1, name: "Console" }).waitFor();
  // Its own subscription is the first thing that happens.
  await row(page, "subscribed", "$debug:events").waitFor();

  const ann = await people.connect({ token: await server.token("ann", ["room:*"]), channels: ["room:9"] });
  await row(page, "connected", "ann").waitFor();
  await row(page, "subscribed", "room:9").waitFor();
  await ann.say("publish", { channel: "room:9", name: "greet", data: "canary-payload" });
  await row(page, "published", "greet, number 1").waitFor();
  await ann.say("publish", { channel: "hall:1", data: 1 });
  await row(page, "refused", "publish: ").getByText("hall:1").waitFor();
  await server.publish("room:9", { name: "quote", data: "canary-payload" });
  await row(page, "published", "quote, number 2").getByRole("link", { name: /^key …/ }).waitFor();
  assert.ok(!(await page.content()).includes("canary-payload"));
  await judge(page, "console");

  // One kind, one user, both; the URL says it, and chips take it back.
  await page.getByRole("navigation", { name: "Kinds of events" }).getByRole("link", { name: "refused" }).click();
  await page.waitForURL(/\?kind=refused$/);
  await row(page, "published").first().waitFor({ state: "detached" });
  await row(page, "refused", "hall:1").waitFor();
  await page.getByLabel("User").fill("nobody");
  await page.getByLabel("User").press("Enter");
  await page.waitForURL(/\?kind=refused&user=nobody$/);
  await page.getByText("Nothing that matches").waitFor();
  await page.getByRole("link", { name: "Remove the filter User nobody" }).click();
  await row(page, "refused", "hall:1").waitFor();

  // One event, by keyboard; its link is found again after a reload, because the last minutes are kept.
  await row(page, "refused", "hall:1").getByRole("link").first().focus();
  await page.keyboard.press("Enter");
  const detail = page.getByRole("complementary", { name: "Event" });
  await detail.getByText("token", { exact: true }).waitFor();
  await detail.getByRole("link", { name: "forbidden" }).waitFor();
  await detail.getByText('"layer": "token"').waitFor();
  await judge(page, "console-event");
  const link = page.url();
  assert.match(link, /\?kind=refused&event=[\d-]+$/);
  await page.reload();
  await detail.getByText('"channel": "hall:1"').waitFor();
  await detail.getByRole("link", { name: "Close the event" }).click();
  await detail.waitFor({ state: "detached" });
  await page.goto(`${controlUrl}/apps/${app}/console?event=1-1`);
  await page.getByText("This event is not here").waitFor();
  clean(faults);
  await people.close();
});

test("a paused console stands still, counts what it misses, and goes on", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page);
  const server = await backend(context, app);
  await page.goto(`${controlUrl}/apps/${app}/console`);
  await row(page, "subscribed", "$debug:events").waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  const before = await page.locator("tbody tr").count();
  await server.publish("room:9", { name: "one", data: 1 });
  await server.publish("room:9", { name: "two", data: 2 });
  await page.getByRole("button", { name: "Go on, 2 new" }).waitFor();
  assert.equal(await page.locator("tbody tr").count(), before);
  await page.getByRole("button", { name: "Go on, 2 new" }).click();
  await row(page, "published", "two").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByText("Nothing has happened yet").waitFor();
  await judge(page, "console-empty");
  await server.publish("room:9", { name: "three", data: 3 });
  await row(page, "published", "three").waitFor();
  assert.equal(await row(page, "published", "two").count(), 0);
  clean(faults);
});
