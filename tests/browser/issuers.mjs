/** Issuers in the dashboard: made by key and by URL, refused at their field, changed, and deleted with their connections. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";

const folder = process.env.SCREENSHOTS;
const ISS = "https://login.example.com/";

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

/** A token of somebody who signs with a P-256 key. */
function token(privateKey) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const signed = `${part({ alg: "ES256", typ: "JWT" })}.${part({ iss: ISS, sub: "ann", iat: now, exp: now + 600 })}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/**
 * Connects with a token from the page, until the node knows the issuer. The page remembers with which code the
 * connection was closed.
 * @param {import("playwright-core").Page} page
 */
function connect(page, app, text) {
  return page.evaluate(
    async ([url, text]) => {
      const once = () =>
        new Promise((resolve) => {
          const socket = new WebSocket(url, "fanfare.v1.json");
          socket.onopen = () => socket.send(JSON.stringify({ id: 1, connect: { token: text } }));
          socket.onmessage = ({ data }) => data.includes('"ok"') && resolve(socket);
          socket.onclose = ({ code }) => resolve(code);
        });
      for (let tries = 0; tries < 50; tries += 1) {
        const socket = await once();
        if (socket instanceof WebSocket) {
          window.lostWith = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
          return "in";
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return "never let in";
    },
    [`${gatewayUrl.replace("http", "ws")}/v1/apps/${app}/socket`, text],
  );
}

test("an issuer with a key lets its tokens in, and deleting it closes their connections", async () => {
  const { page, faults } = await visit(browser);
  const { app } = await signUp(page, stranger());
  await page.getByRole("link", { name: "Issuers" }).click();
  await page.getByRole("heading", { level: 1, name: "Issuers" }).waitFor();
  await page.getByText("No issuers yet").waitFor();
  await judge(page, "issuers-none");

  await page.getByRole("button", { name: "Add issuer" }).press("Enter");
  const adding = page.getByRole("dialog", { name: "Add issuer" });
  const name = adding.getByLabel("Name", { exact: true });
  assert.ok(await name.evaluate((input) => input === document.activeElement), "typing starts at the name");
  await name.fill("our login");
  await adding.getByLabel("Issuer", { exact: true }).fill(ISS);
  await adding.locator("label").filter({ hasText: /^One key/ }).click();
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await adding.getByLabel("Public key").fill("-----BEGIN NONSENSE-----");
  await adding.getByRole("button", { name: "Add issuer" }).click();
  await adding.locator("textarea[aria-invalid=true]").waitFor();
  await judge(page, "issuers-wrong");
  await adding.getByLabel("Public key").fill(publicKey.export({ type: "spki", format: "pem" }));
  await adding.getByRole("group", { name: /^What is given on/ }).getByLabel("Channels").fill("demo:*");
  await adding.getByText("As curl").click();
  const command = await adding.getByRole("group", { name: "curl command" }).textContent();
  assert.match(command, /--json '\{"name":"our login","iss":"https:\/\/login\.example\.com\/".*"ceiling":\{"demo:\*":\[/s);
  await adding.getByRole("button", { name: "Add issuer" }).click();
  await adding.waitFor({ state: "hidden" });
  const row = page.getByRole("row", { name: /our login/ });
  await row.getByText("Own key").waitFor();
  await row.getByText("on demo:*").waitFor();
  await judge(page, "issuers-one");

  assert.equal(await connect(page, app, token(privateKey)), "in");
  await row.getByRole("button", { name: "Delete our login" }).click();
  const ending = page.getByRole("dialog", { name: "Delete our login" });
  await ending.getByText("Every connection made with one of them is closed").waitFor();
  await ending.getByLabel("Name of the issuer").fill("our login");
  await judge(page, "issuers-delete");
  await ending.getByRole("button", { name: "Delete issuer" }).click();
  await page.getByText("No issuers yet").waitFor();
  const code = await page.evaluate(() => window.lostWith);
  assert.ok(code >= 4_000, `the connection is closed with a code of ours, not ${code}`);
  clean(faults);
});

test("a known setup fills the form, its keys are fetched, and it is changed and switched off", async () => {
  const { page, faults } = await visit(browser);
  await signUp(page, stranger());
  await page.getByRole("link", { name: "Issuers" }).click();
  await page.getByRole("button", { name: "Add issuer" }).click();
  const adding = page.getByRole("dialog", { name: "Add issuer" });
  await adding.getByLabel("Fill in for").selectOption("Clerk");
  assert.equal(await adding.getByLabel("Name", { exact: true }).inputValue(), "Clerk");
  assert.match(await adding.getByLabel("Required claims").inputValue(), /^\/azp = /);
  // No such host: what went wrong has to be seen.
  await adding.getByLabel("JWKS URL").fill("https://keys.invalid/jwks.json");
  await adding.getByLabel("Roles").fill("roles");
  await adding.getByRole("button", { name: "Add issuer" }).click();
  await adding.getByText("use a JSON pointer").waitFor();
  await adding.getByLabel("Roles").fill("/o/rol\n/org_role");
  await adding.getByLabel("EdDSA").uncheck();
  await adding.getByRole("button", { name: "Add issuer" }).click();
  await adding.waitFor({ state: "hidden" });
  const row = page.getByRole("row", { name: /Clerk/ });
  await row.getByText("Not available").waitFor();

  await row.getByRole("button", { name: "Clerk", exact: true }).click();
  const details = page.getByRole("dialog", { name: "Clerk" });
  await details.getByText("Went wrong").waitFor();
  await details.getByText("issuer_unavailable").waitFor();
  await judge(page, "issuers-details");
  await page.keyboard.press("Escape");
  await details.waitFor({ state: "hidden" });

  await row.getByRole("button", { name: "Change Clerk" }).click();
  const changing = page.getByRole("dialog", { name: "Change Clerk" });
  await changing.getByLabel("Take its tokens").uncheck();
  await changing.getByText("closes every connection").waitFor();
  await changing.getByRole("button", { name: "Add channels" }).click();
  await changing.getByRole("button", { name: "Save issuer" }).click();
  await changing.getByText("Channels “”").waitFor();
  await changing.getByLabel("Channels").last().fill("room:*");
  await judge(page, "issuers-change");
  await changing.getByRole("button", { name: "Save issuer" }).click();
  await row.getByText("Off", { exact: true }).waitFor();
  await row.getByText("subscribe on room:*").waitFor();
  clean(faults);
});

test("an issuer that somebody else changed meanwhile is not overwritten", async () => {
  const { page, context, faults } = await visit(browser);
  const { app } = await signUp(page, stranger());
  const api = `${controlUrl}/api/v1/apps/${app}/issuers`;
  const headers = { "x-fanfare-csrf": "1", origin: controlUrl };
  const { publicKey } = generateKeyPairSync("ed25519");
  const key = publicKey.export({ type: "spki", format: "pem" });
  const made = await context.request.post(api, { headers, data: { name: "theirs", iss: ISS, key } });
  const { id, version } = await made.json();
  await page.goto(`${controlUrl}/apps/${app}/issuers`);
  await page.getByRole("button", { name: "Change theirs" }).click();
  const changed = await context.request.patch(`${api}/${id}`, {
    headers: { ...headers, "if-match": `"v${version}"` },
    data: { name: "renamed" },
  });
  assert.equal(changed.status(), 200);
  const dialog = page.getByRole("dialog", { name: "Change theirs" });
  await dialog.getByLabel("Name", { exact: true }).fill("mine");
  await dialog.getByRole("button", { name: "Save issuer" }).click();
  await dialog.getByRole("alert").getByRole("link", { name: "What this means" }).waitFor();
  clean(faults);
});

test("keys at a URL are told apart: fetched, failing but serving, none", async () => {
  for (const [colorScheme, width] of [["dark", 1280], ["light", 390]]) {
    const look = { colorScheme, viewport: { width, height: 900 }, reducedMotion: "reduce" };
    const { page, context, faults } = await visit(browser, look);
    const { app } = await signUp(page, stranger());
    const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
    const keys = [{ kid: "k1", algorithm: "ES256" }, { kid: "k2", algorithm: "RS256" }];
    const issuer = (at, name, jwks) => ({
      id: `iss_${"01JD".padEnd(25, "0")}${at}`,
      name,
      iss: ISS,
      jwks: { url: "https://keys.example.com/jwks.json", attempted_at: ago(2), ...jwks },
      algorithms: ["ES256", "RS256"],
      ceiling: { "**": ["subscribe"] },
      claims: {},
      enabled: true,
      created_at: ago(900),
      version: 1,
    });
    const items = [
      issuer(0, "well", { fetched_at: ago(2), keys }),
      issuer(1, "shaky", { fetched_at: ago(90), keys, error: "no answer within 5 s" }),
      issuer(2, "empty", { fetched_at: ago(2), keys: [] }),
    ];
    await page.route("**/issuers?*", (route) => route.fulfill({ json: { items } }));
    await page.goto(`${controlUrl}/apps/${app}/issuers`);
    await page.getByRole("row", { name: /well/ }).getByText("2 keys").waitFor();
    await page.getByRole("row", { name: /shaky/ }).getByText("Fetching fails").waitFor();
    await page.getByRole("row", { name: /empty/ }).getByText("No usable key").waitFor();
    await judge(page, `issuers-states-${colorScheme}-${width}`);
    await page.getByRole("button", { name: "shaky", exact: true }).click();
    await page.getByRole("cell", { name: "k2" }).waitFor();
    await judge(page, `issuers-keys-${colorScheme}-${width}`);
    clean(faults);
    await context.close();
  }
});
