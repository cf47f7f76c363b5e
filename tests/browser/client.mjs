/** The client as pages load it: one file from the gateway, in a page and in a worker of another origin. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { appKey, appUrl, clean, gatewayUrl, launch, visit } from "./support/browser.mjs";

/** What the README shows, with somewhere to show it. */
const script = (channel) => `
  import { Fanfare } from "${gatewayUrl}/sdk/v1.js";
  const ff = new Fanfare("${appUrl}");
  const tell = (text) => globalThis.document ? document.body.append(text) : postMessage(text);
  ff.channel("${channel}").subscribe((m) => tell(m.name + " " + m.data)).then(() => tell("listening "));
`;
const SCRIPTS = { "/page.js": script("demo:page"), "/worker.js": script("demo:worker") };
const PAGES = {
  "/page": '<!doctype html><title>page</title><link rel="icon" href="data:,"><body><script type="module" src="/page.js"></script>',
  "/worker":
    '<!doctype html><title>worker</title><link rel="icon" href="data:,"><body><script type="module">' +
    'new Worker("/worker.js", { type: "module" }).onmessage = (event) => document.body.append(event.data);</script>',
};

const site = createServer((request, response) => {
  const text = PAGES[request.url] ?? SCRIPTS[request.url];
  const type = request.url in SCRIPTS ? "text/javascript" : "text/html";
  response.writeHead(text === undefined ? 404 : 200, { "content-type": type }).end(text);
});

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await browser?.close();
  site.close();
});

for (const place of ["page", "worker"]) {
  test(`a message published by REST reaches a ${place}`, async () => {
    const { page, faults } = await visit(browser);
    await page.goto(`http://127.0.0.1:${site.address().port}/${place}`);
    await page.getByText("listening").waitFor();
    const answer = await fetch(`${appUrl}/channels/demo:${place}/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${appKey}`, "content-type": "application/json" },
      body: '{"name":"greet","data":"hi"}',
    });
    assert.ok(answer.ok, await answer.text());
    await page.getByText("greet hi").waitFor();
    clean(faults);
  });
}
