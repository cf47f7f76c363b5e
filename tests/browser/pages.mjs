/**
 * Every page, dark and light, wide and narrow: nothing sticks out, nothing complains, axe finds nothing. With
 * SCREENSHOTS set to a folder, a picture of each is left there.
 */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { signIn, signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";

const folder = process.env.SCREENSHOTS;
const LOOKS = ["dark", "light"].flatMap((colorScheme) =>
  [1280, 390].map((width) => ({ colorScheme, width, name: `${colorScheme}-${width}` })),
);
const PUBLIC = [
  { path: "/sign-up", heading: "Sign up" },
  { path: "/sign-in", heading: "Sign in" },
  { path: "/welcome", heading: "Welcome" },
  { path: "/errors", heading: "Error codes" },
  { path: "/errors/rate_limited", heading: "Too many at once" },
  { path: "/errors/nonsense", heading: "Not found" },
  { path: "/nowhere", heading: "Not found" },
];
const MEMBERS = [
  { path: "/apps/{app}", heading: "Overview" },
  { path: "/apps/{app}/latency", heading: "Latency" },
  { path: "/apps/{app}/first-message", heading: "First message" },
  { path: "/apps/{app}/channels", heading: "Channels" },
  { path: "/apps/{app}/channels/one?name=demo%3Ahello", heading: "Channel" },
  { path: "/apps/{app}/connections", heading: "Connections" },
  { path: "/apps/{app}/console", heading: "Console" },
  { path: "/apps/{app}/keys", heading: "Keys" },
  { path: "/apps/{app}/issuers", heading: "Issuers" },
  { path: "/apps/{app}/tokens", heading: "Tokens" },
  { path: "/apps/{app}/access", heading: "Access" },
  { path: "/apps/{app}/settings", heading: "Settings" },
  { path: "/apps/{app}/limits", heading: "Limits" },
  { path: "{tenant}", heading: "Apps" },
];

/** @type {import("playwright-core").Browser} */
let browser;
const person = stranger();
let app;
/** The path of the tenant's page. */
let tenant;
before(async () => {
  browser = await launch();
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  const { page, context } = await visit(browser);
  ({ app } = await signUp(page, person));
  tenant = await page.getByRole("link", { name: "Apps" }).getAttribute("href");
  await context.close();
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

const look = ({ colorScheme, width }) => ({ colorScheme, viewport: { width, height: 900 }, reducedMotion: "reduce" });
const file = (path) => path.replace("/apps/{app}", "app").replace("{tenant}", "apps").replace(/^\//, "").replaceAll(/[/?%=]/g, "-");

for (const shape of LOOKS) {
  test(`pages for everybody, ${shape.name}`, async () => {
    const { page, context, faults } = await visit(browser, look(shape));
    for (const { path, heading } of PUBLIC) {
      await page.goto(controlUrl + path);
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
      await judge(page, `${file(path)}-${shape.name}`);
    }
    for (const [name, url] of [["control", controlUrl], ["gateway", gatewayUrl]]) {
      await page.goto(`${url}/docs`);
      await page.getByRole("heading", { level: 1 }).first().waitFor();
      await judge(page, `docs-${name}-${shape.name}`);
    }
    clean(faults);
    await context.close();
  });

  test(`pages for members, ${shape.name}`, async () => {
    const { page, context, faults } = await visit(browser, look(shape));
    await signIn(page, person);
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    for (const { path, heading } of MEMBERS) {
      await page.goto(controlUrl + path.replace("{app}", app).replace("{tenant}", tenant));
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
      // A page may wait for several things.
      await page.waitForFunction(() => ![...document.querySelectorAll(".visually-hidden")].some((it) => it.textContent === "Loading"));
      await page.getByText("Waiting for the first second").first().waitFor({ state: "hidden" });
      await judge(page, `${file(path)}-${shape.name}`);
    }
    clean(faults);
    await context.close();
  });

  test(`what opens and arrives on pages, ${shape.name}`, async () => {
    const { page, context, faults } = await visit(browser, look(shape));
    await signIn(page, person);
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    await page.keyboard.press("Control+k");
    await page.getByRole("dialog").waitFor();
    await judge(page, `palette-${shape.name}`);

    await page.goto(`${controlUrl}/apps/${app}/first-message`);
    await page.getByRole("button", { name: "Make a key" }).click();
    await page.getByText("Subscribed", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Send it from here" }).click();
    await page.getByTestId("received").getByText('greet "hi"').waitFor();
    await judge(page, `app-first-message-received-${shape.name}`);

    await page.goto(`${controlUrl}/apps/${app}/keys`);
    await page.getByRole("button", { name: "Create key" }).click();
    await page.getByRole("dialog").getByLabel("Name").fill("orders");
    await page.locator("label").filter({ hasText: /^Custom/ }).click();
    await judge(page, `app-keys-create-${shape.name}`);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: /^Revoke/ }).first().click();
    await page.getByRole("button", { name: "Revoke key" }).waitFor();
    await judge(page, `app-keys-revoke-${shape.name}`);
    clean(faults);
    await context.close();
  });

  test(`a server that is away, ${shape.name}`, async () => {
    const { page, context } = await visit(browser, look(shape));
    await page.route("**/api/v1/**", (route) => route.abort());
    await page.goto(`${controlUrl}/`);
    await page.getByText("The server cannot be reached").first().waitFor();
    await judge(page, `away-${shape.name}`);
    await page.unroute("**/api/v1/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    await context.close();
  });
}

test("wrong words are said at their field, and a wrong sign-in tells nothing", async () => {
  const { page } = await visit(browser);
  await page.goto(`${controlUrl}/sign-up`);
  await page.getByLabel("E-mail").fill("somebody@example.com");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.locator("[aria-invalid=true]").or(page.getByRole("alert")).first().waitFor();
  await accessible(page, "a refused sign-up");
  await signIn(page, { email: person.email, password: "quite another passphrase" });
  await page.getByRole("alert").getByText("E-mail or password is wrong").waitFor();
  await accessible(page, "a refused sign-in");
});

test("signing out ends the session", async () => {
  const { page } = await visit(browser);
  await signIn(page, person);
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
  await page.goto(`${controlUrl}/apps/${app}`);
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
});
