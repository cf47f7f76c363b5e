/** A page as it stands, dark and light, wide and narrow. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { accessible } from "./axe.mjs";

const folder = process.env.SCREENSHOTS;
const LOOKS = ["dark", "light"].flatMap((colorScheme) => [1280, 390].map((width) => ({ colorScheme, width })));

/**
 * Nothing sticks out and axe finds nothing, in every look. With SCREENSHOTS set to a folder, a picture of each is left
 * there.
 * @param {import("playwright-core").Page} page
 */
export async function judge(page, name) {
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  for (const { colorScheme, width } of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 900 });
    if (folder !== undefined) {
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${width}.png`), fullPage: true });
    }
    const { wide, seen } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      seen: document.documentElement.clientWidth,
    }));
    assert.ok(wide <= seen, `${name} is ${wide} px wide in a window of ${seen}`);
    await accessible(page, `${name}, ${colorScheme}, ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}
