/** Keys in the dashboard: made, shown once, used, revoked. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signIn, signUp, stranger } from "./support/account.mjs";
import { PATIENCE_MS, appUrl, clean, controlUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
const member = stranger();
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** The status and code of one publish with a key. */
async function publish(app, key) {
  const answer = await fetch(`${gatewayUrl}/v1/apps/${app}/channels/demo:keys/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: '{"data":"hi"}',
  });
  const { code } = await answer.json();
  return code ?? answer.status;
}

/** Asks again until the answer is the expected one; says how long that took. */
async function becomes(expected, ask, withinMs) {
  const begun = performance.now();
  for (;;) {
    const answer = await ask();
    const waited = performance.now() - begun;
    if (answer === expected) return waited;
    assert.ok(waited < withinMs, `still ${answer}, not ${expected}, after ${Math.round(waited)} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("a key is made, shown once, works, and is refused after it was revoked", async () => {
  const { page, faults } = await visit(browser);
  const { app } = await signUp(page, member);
  await page.getByRole("link", { name: "Keys" }).click();
  await page.getByRole("heading", { level: 1, name: "Keys" }).waitFor();

  await page.getByRole("button", { name: "Create key" }).click();
  const making = page.getByRole("dialog", { name: "Create key" });
  await making.getByLabel("Name").fill("orders");
  await making.locator("label").filter({ hasText: /^Publish/ }).click();
  await making.getByRole("button", { name: "Create key" }).click();
  const key = await making.getByTestId("secret").textContent();
  assert.match(key, /^key_\w{26}:ffs_\S+$/);
  await making.getByRole("button", { name: "I have kept it" }).click();
  await making.waitFor({ state: "hidden" });

  const secret = key.split(":")[1];
  assert.ok(!(await page.content()).includes(secret), "a secret is gone from the page when its dialog is closed");
  await page.reload();
  const row = page.getByRole("row", { name: /orders/ });
  await row.getByText("Works").waitFor();
  assert.ok(!(await page.content()).includes(secret), "a secret is shown once");

  const usable = await becomes(201, () => publish(app, key).then((told) => (told === 200 ? 201 : told)), PATIENCE_MS);
  await row.getByRole("button", { name: "Revoke orders" }).click();
  const ending = page.getByRole("dialog", { name: "Revoke orders" });
  const confirm = ending.getByRole("button", { name: "Revoke key" });
  await ending.getByLabel("Name of the key").fill("order");
  assert.ok(await confirm.isDisabled(), "only the whole name confirms");
  await ending.getByLabel("Name of the key").fill("orders");
  await confirm.click();
  await ending.waitFor({ state: "hidden" });
  const refused = await becomes("key_invalid", () => publish(app, key), PATIENCE_MS);
  await row.getByText("Revoked").waitFor();
  console.log(`# a new key worked after ${Math.round(usable)} ms, a revoked one was refused after ${Math.round(refused)} ms`);
  clean(faults);
});

test("somebody else's app is not found", async () => {
  const { page, faults } = await visit(browser);
  await signIn(page, member);
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  const app = appUrl.split("/").at(-1);
  await page.goto(`${controlUrl}/apps/${app}/keys`);
  await page.getByRole("heading", { level: 1, name: "Not found" }).waitFor();
  clean(faults);
});
