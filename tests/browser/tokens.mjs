/** The token workbench: made by form, looked into, taken back, and never in an address, in storage or in a log. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";

const folder = process.env.SCREENSHOTS;
const run = promisify(execFile);

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

/** Connects with a token from the page; the page remembers with which code the connection was closed. */
function connect(page, app, token) {
  return page.evaluate(
    ([url, token]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, "fanfare.v1.json");
        window.lostWith = new Promise((lost) => (socket.onclose = ({ code }) => (lost(code), resolve(code))));
        socket.onopen = () => socket.send(JSON.stringify({ id: 1, connect: { token } }));
        socket.onmessage = ({ data }) => resolve(JSON.parse(data.split("\n")[0]).ok?.user);
      }),
    [`${gatewayUrl.replace("http", "ws")}/v1/apps/${app}/socket`, token],
  );
}

test("a token is made by form, looked into, works, and is taken back with its connection", async () => {
  const { page, faults } = await visit(browser);
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  const { app } = await signUp(page, stranger());
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.getByRole("heading", { level: 1, name: "Tokens" }).waitFor();
  // Signing up has put the first key at hand.
  await page.getByRole("region", { name: "Key that signs" }).getByText("Asked with the key").waitFor();
  await page.getByLabel("User").fill("ann o'hara");
  await page.getByLabel("Lives for").selectOption("15 minutes");
  await page.getByText("Info, labels, its own id, limits").press("Enter");
  await page.getByLabel(/^Info \(/).fill("[1]");
  await page.getByLabel("Subscriptions").fill("3");
  await page.getByRole("button", { name: "Make token" }).click();
  await page.locator("#token-info[aria-invalid=true]").waitFor();
  await judge(page, "tokens-wrong");
  await page.getByLabel(/^Info \(/).fill('{"name":"Ann"}');
  await page.getByLabel("Labels").fill("session:4, beta");
  await page.getByLabel("Own id").fill("token-1");

  const code = page.getByRole("region", { name: "Code" });
  await code.getByRole("tab", { name: "Python" }).click();
  assert.match(await code.locator("code").textContent(), /"info": \{"name": "Ann"\}.*"sub": "ann o'hara", "exp": .*\+ 900\}/s);
  await code.getByRole("tab", { name: "Python" }).press("Home");
  const rest = await code.locator("code").textContent();

  await page.getByRole("button", { name: "Make token" }).click();
  const made = page.getByRole("region", { name: "The token" });
  await made.getByText(/in 15 min/).waitFor();
  const token = await made.getByRole("group", { name: "token" }).textContent();
  await judge(page, "tokens-made");

  await made.getByRole("link", { name: "Look into it" }).click();
  await page.waitForURL(/part=inspect/);
  await page.getByRole("row", { name: /^Signer Holds/ }).waitFor();
  await page.getByRole("row", { name: /^Signature and the rest Open/ }).waitFor();
  await page.getByRole("button", { name: "Judge it" }).press("Enter");
  await page.getByTestId("judged").getByText("would be let in now").waitFor();
  await page.getByText("subscribe, publish on room:9").waitFor();
  await judge(page, "tokens-inspected");
  assert.equal(await connect(page, app, token), "ann o'hara");

  await page.getByRole("link", { name: "Revoke", exact: true }).click();
  await page.getByText("Nothing is revoked").waitFor();
  await page.getByLabel("Which").fill("token-1");
  await page.getByRole("button", { name: "Revoke tokens" }).click();
  await page.getByTestId("revoked").getByText("1 connection is being closed, on 1 of 1 node").waitFor();
  assert.equal(await page.evaluate(() => window.lostWith), 4403);
  await page.getByRole("row", { name: /token token-1/ }).waitFor();
  await judge(page, "tokens-revoked");

  await page.getByRole("link", { name: "Inspect" }).click();
  await page.getByRole("button", { name: "Judge it" }).click();
  await page.getByTestId("judged").getByText("would be refused").waitFor();
  await page.getByText(/^token_revoked/).waitFor();
  await page.getByRole("link", { name: "Revoke", exact: true }).click();
  await page.getByRole("button", { name: "Let work again token token-1" }).click();
  await page.getByText("Nothing is revoked").waitFor();

  // The call that the page shows works as it stands, with the key in a variable.
  await page.getByRole("link", { name: "Make", exact: true }).click();
  assert.match(rest, /--json '\{"sub":"ann o'\\''hara"/);
  assert.ok(requests.every((url) => !url.includes(token.slice(0, 30)) && !url.includes("ffs_")), "no token and no key in an address");
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert.ok(!stored.includes(token.split(".")[2]) && !stored.includes("ffs_"), "nothing is stored");
  clean(faults);
});

test("the call that is shown makes the same token in a shell", async () => {
  const { page, context } = await visit(browser);
  const { app } = await signUp(page, stranger());
  const made = await context.request.post(`${controlUrl}/api/v1/apps/${app}/keys`, {
    headers: { "x-fanfare-csrf": "1", origin: controlUrl },
    data: { name: "shell" },
  });
  const { secret } = await made.json();
  await page.goto(`${controlUrl}/apps/${app}/tokens`);
  await page.getByLabel("User").fill("it's $HOME");
  const command = await page.getByRole("region", { name: "Code" }).locator("code").textContent();
  const env = { ...process.env, FANFARE_KEY: secret };
  const { stdout } = await run("sh", ["-c", `${command} --silent --show-error --fail-with-body`], { env });
  const [, claims] = JSON.parse(stdout).token.split(".");
  assert.equal(JSON.parse(Buffer.from(claims, "base64url").toString()).sub, "it's $HOME");
});

test("without a key at hand code is shown, a token is read, and a pasted key or a new one judges it", async () => {
  const { page, faults } = await visit(browser, { viewport: { width: 390, height: 900 }, colorScheme: "dark", reducedMotion: "reduce" });
  const { app } = await signUp(page, stranger());
  // A fresh load has no key: it was in the memory of the page before.
  await page.goto(`${controlUrl}/apps/${app}/tokens?part=inspect`);
  await page.getByRole("heading", { name: "Paste a token" }).waitFor();
  await page.getByLabel("Token", { exact: true }).fill("not a token");
  await page.getByText("This is no token.").waitFor();
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  await page.getByLabel("Token", { exact: true }).fill(`${part({ alg: "HS256", kid: "key_1" })}.${part({ exp: 1_700_000_000 })}.AAAA`);
  await page.getByRole("row", { name: /Signer.*Wrong/ }).waitFor();
  await page.getByRole("row", { name: /Times.*It ended/ }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Judge it" }).isDisabled());
  const asking = page.getByRole("region", { name: "Key that asks" });
  await asking.getByLabel("Key", { exact: true }).fill("key_1:secret");
  await asking.getByRole("button", { name: "Use this key" }).click();
  await asking.getByText("A whole key reads").first().waitFor();
  await judge(page, "tokens-inspect-390");
  await asking.getByRole("button", { name: "Make a key" }).click();
  await asking.getByText("token workbench").waitFor();
  await page.getByRole("button", { name: "Judge it" }).click();
  await page.getByTestId("judged").getByText("would be refused").waitFor();
  await page.goto(`${controlUrl}/apps/${app}/tokens?part=make`);
  await page.getByText("to make one here, take a key to hand").waitFor();
  await judge(page, "tokens-make-390");
  clean(faults);
});
