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

test("a long message comes compressed and whole, and goes so", async () => {
  const { page, faults } = await visit(browser);
  await page.goto(`http://127.0.0.1:${site.address().port}/page`);
  const said = await page.evaluate(async (url) => {
    const socket = new WebSocket(url.replace("http", "ws") + "/socket", "fanfare.v1.json");
    await new Promise((resolve) => (socket.onopen = resolve));
    const data = Array.from({ length: 2_000 }, (_, at) => `line ${at} ü€😀`).join();
    const message = new Promise((resolve) => {
      socket.onmessage = ({ data }) => data.startsWith('{"msg"') && resolve(JSON.parse(data).msg.data);
    });
    socket.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"demo:long"}}');
    socket.send(JSON.stringify({ id: 3, publish: { channel: "demo:long", data } }));
    const whole = (await message) === data;
    socket.close();
    return { whole, extensions: socket.extensions };
  }, appUrl);
  assert.ok(said.whole && said.extensions.startsWith("permessage-deflate"), JSON.stringify(said));
  clean(faults);
});
