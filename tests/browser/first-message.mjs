/** The promise of the product: from an address bar to a first message in under a minute, for somebody who knows nothing. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { signIn, signUp, stranger } from "./support/account.mjs";
import { accessible } from "./support/axe.mjs";
import { clean, controlUrl, launch, visit } from "./support/browser.mjs";

const WITHIN_MS = 60_000;
const run = promisify(execFile);

/** @type {import("playwright-core").Browser} */
let browser;
/** Somebody who has been here before, so that the last tests do not meet the limit on sign-ups. */
let member;
before(async () => {
  browser = await launch();
  const { page, context } = await visit(browser);
  member = await signUp(page);
  await context.close();
});
after(() => browser?.close());

test("a stranger signs up, runs the curl on the page and sees the message arrive, in under a minute", async () => {
  const { page, faults } = await visit(browser);
  const begun = performance.now();
  const since = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;

  await page.goto(controlUrl);
  await page.getByRole("link", { name: "Sign up" }).click();
  const { email, password } = stranger();
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByRole("heading", { level: 1, name: "First message" }).waitFor();
  const signedUp = since();
  await page.getByText("Subscribed", { exact: true }).waitFor();
  const listening = since();

  // The very command, as a shell gets it from the clipboard.
  const command = await page.getByRole("group", { name: "curl command" }).textContent();
  assert.match(command, /^curl -u "key_\w+:ffs_\S+" --json /);
  const { stdout } = await run("sh", ["-c", `${command} --silent --show-error --fail-with-body`]);
  const answer = JSON.parse(stdout);
  assert.deepEqual([answer.durability, answer.duplicate], ["memory", false]);

  const received = page.getByTestId("received");
  await received.getByText('greet "hi"').waitFor();
  const took = performance.now() - begun;
  const [, travel] = /([\d.]+)\s*ms/.exec(await received.textContent()) ?? [];
  assert.ok(Number(travel) >= 0, "the message shows its milliseconds");
  assert.match(await received.textContent(), new RegExp(`Logged at ${answer.position.replace(/\W/g, "\\$&")}`));
  console.log(`# signed up after ${signedUp}, listening after ${listening}, message after ${since()}; it travelled ${travel} ms`);
  assert.ok(took < WITHIN_MS, `it took ${Math.round(took)} ms`);
  await accessible(page, "the page with its message");
  clean(faults);
});

/** Signs in, goes to the page and makes a key there: the one of signing up was shown then, and never again. */
async function comeBack() {
  const visited = await visit(browser);
  const { page } = visited;
  await signIn(page, member);
  await page.getByRole("link", { name: "First message" }).first().click();
  await page.getByText("Subscribed", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByRole("button", { name: "Send it from here" }).waitFor();
  return visited;
}

test("the page makes a key, sends by itself, signs a token, and ticks what was done", async () => {
  const { page, faults } = await comeBack();
  await page.getByRole("button", { name: "Send it from here" }).click();
  await page.getByTestId("received").getByText('greet "hi"').waitFor();
  await page.getByRole("button", { name: "Make one with this key" }).click();
  const token = await page.getByRole("group", { name: "token" }).textContent();
  assert.equal(token.split(".").length, 3);
  for (const done of ["Published", "Received", "Token made"]) {
    await page.getByRole("listitem").filter({ hasText: `${done}: done` }).waitFor();
  }
  // The overview tells of the last seconds: it is there before what it is to tell of.
  const overview = await page.context().newPage();
  await overview.goto(page.url());
  await overview.getByRole("link", { name: "Overview" }).first().click();
  await overview.getByText(/\d connections?\. /).waitFor();
  await page.getByRole("button", { name: "Send it from here" }).click();
  await overview.getByText(/\d connections?\. Messages (arrive in|are slow)/).waitFor();
  clean(faults);
});

test("the snippet for a page's console works as it stands", async () => {
  const { page, context } = await comeBack();
  await page.getByRole("tab", { name: "Any page's console" }).click();
  const snippet = await page.getByRole("tabpanel").filter({ hasText: "await import" }).locator("code").textContent();

  const elsewhere = await context.newPage();
  const told = elsewhere.waitForEvent("console", { predicate: (message) => message.text() === "greet hi" });
  await elsewhere.evaluate(`(async () => {
    ${snippet}
    await new Promise((connected) => ff.on("state", ({ state }) => state === "connected" && connected()));
    await ff.channel("demo:hello").history().catch(() => {}); // answered after the subscribe before it
  })()`);
  await page.getByRole("button", { name: "Send it from here" }).click();
  await told;
});
