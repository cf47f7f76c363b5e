/** People who use the dashboard. */
import { randomBytes } from "node:crypto";
import { controlUrl } from "./browser.mjs";

/** Somebody who has never been here. */
export function stranger() {
  const mark = randomBytes(6).toString("hex");
  return { email: `ann.${mark}@example.com`, password: `correct horse ${mark}` };
}

/**
 * Signs up as a person does, and is left at the first message.
 * @param {import("playwright-core").Page} page
 */
export async function signUp(page, person = stranger()) {
  await page.goto(`${controlUrl}/sign-up`);
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password", { exact: true }).fill(person.password);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByRole("heading", { level: 1, name: "First message" }).waitFor();
  return { ...person, app: new URL(page.url()).pathname.split("/")[2] };
}

/** @param {import("playwright-core").Page} page */
export async function signIn(page, person) {
  await page.goto(`${controlUrl}/sign-in`);
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password", { exact: true }).fill(person.password);
  await page.getByRole("button", { name: "Sign in" }).click();
}
