/** The client in a real page whose network is the test's: nothing is lost, nothing doubled. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { appKey, appUrl, gatewayUrl, launch, visit } from "./support/browser.mjs";
import { network } from "./support/proxy.mjs";

const run = Math.random().toString(36).slice(2, 8);
const PAGE = '<!doctype html><title>page</title><link rel="icon" href="data:,"><body>';

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof network>>} */
let net;
const site = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end(PAGE));

before(async () => {
  browser = await launch();
  net = await network(new URL(gatewayUrl));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await browser?.close();
  net?.close();
  site.close();
});

/** A page with the client, subscribed; `seen` are the numbers it was given. */
async function listener(channel) {
  const visitor = await visit(browser);
  const { page } = visitor;
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  const url = `${net.origin}${new URL(appUrl).pathname}`;
  await page.evaluate(
    async ({ sdk, url, channel }) => {
      const { Fanfare } = await import(sdk);
      Object.assign(window, { seen: [], gaps: [] });
      const ff = new Fanfare(url);
      const onGap = (gap) => window.gaps.push(gap);
      await ff.channel(channel).subscribe(({ data }) => window.seen.push(data), { onGap });
    },
    { sdk: `${gatewayUrl}/sdk/v1.js`, url, channel },
  );
  return visitor;
}

let count = 0;
async function publish(channel, many) {
  for (let n = 0; n < many; n++) {
    const answer = await fetch(`${appUrl}/channels/${channel}/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${appKey}`, "content-type": "application/json" },
      body: JSON.stringify({ data: (count += 1) }),
    });
    assert.ok(answer.ok, await answer.text());
  }
}

/** The page has had everything, once each and in order, and was told of no gap. */
async function hasAll(page, first) {
  await page.waitForFunction((last) => window.seen.at(-1) === last, count);
  const { seen, gaps } = await page.evaluate(() => ({ seen: window.seen, gaps: window.gaps }));
  assert.deepEqual(seen, Array.from({ length: count - first }, (_, n) => first + n + 1));
  assert.deepEqual(gaps, []);
}

test("a page whose network changes notices by itself, and misses nothing", async () => {
  const channel = `demo:${run}:change`;
  const first = count;
  const { page, context } = await listener(channel);
  await publish(channel, 3);
  await hasAll(page, first);
  for (let round = 0; round < 2; round++) {
    net.strand();
    await publish(channel, 5);
    const begun = Date.now();
    // The browser tells a page that its network is another.
    await context.setOffline(true);
    await context.setOffline(false);
    await hasAll(page, first);
    assert.ok(Date.now() - begun < 25_000, "before the heartbeat would have told");
  }
  await context.close();
});

test("a page whose connection breaks again and again misses nothing, doubles nothing and keeps the order", async () => {
  const channel = `demo:${run}:cut`;
  const first = count;
  const { page, context } = await listener(channel);
  for (let round = 0; round < 5; round++) {
    net.cut();
    await publish(channel, 10);
  }
  await hasAll(page, first);
  await context.close();
});
