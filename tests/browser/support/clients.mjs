/** Backends and clients of an app, beside the page that is tested. */
import assert from "node:assert/strict";
import { controlUrl, gatewayUrl } from "./browser.mjs";

/**
 * Changes something as the page's member.
 * @param {import("playwright-core").BrowserContext} context
 */
export async function change(context, method, path, data, headers = {}) {
  const answer = await context.request.fetch(`${controlUrl}/api/v1${path}`, {
    method,
    headers: { "x-fanfare-csrf": "1", origin: controlUrl, ...headers },
    data,
  });
  assert.ok(answer.ok(), `${method} ${path}: ${answer.status()} ${await answer.text()}`);
  return answer.status() === 204 ? null : answer.json();
}

/** A backend of the app, with a key of its own that the data plane knows. */
export async function backend(context, app) {
  const { secret } = await change(context, "POST", `/apps/${app}/keys`, { name: "backend" });
  const url = `${gatewayUrl}/v1/apps/${app}`;
  const ask = async (method, path, body) => {
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${secret}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: answer.status, body: answer.status === 204 ? null : await answer.json() };
  };
  for (let tries = 0; (await ask("GET", "/channels")).status === 401; tries += 1) {
    assert.ok(tries < 200, "the key works within five seconds");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  const ok = async (...call) => {
    const { status, body } = await ask(...call);
    assert.ok(status < 300, `${call[0]} ${call[1]}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  return {
    ok,
    /** Publishes, as slowly as the app's rate asks for. */
    publish: async (channel, message) => {
      for (;;) {
        const { status, body } = await ask("POST", `/channels/${channel}/messages`, message);
        if (status !== 429) {
          assert.equal(status, 200, JSON.stringify(body));
          return body;
        }
        await new Promise((resolve) => setTimeout(resolve, body.retry_after_ms));
      }
    },
    token: async (sub, channels, more = {}) => {
      const all = ["subscribe", "publish", "presence", "presence.read", "history"];
      const cap = Object.fromEntries(channels.map((channel) => [channel, all]));
      return (await ok("POST", "/tokens", { sub, cap, ...more })).token;
    },
  };
}

/**
 * Clients of an app, in a page of their own: each connected, and subscribed to its channels.
 * @param {import("playwright-core").Browser} browser
 */
export async function clients(browser, app) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const url = `${gatewayUrl.replace("http", "ws")}/v1/apps/${app}/socket`;
  let number = 0;
  return {
    close: () => context.close(),
    /** Connects one; answers its id, and how it is spoken to. */
    async connect({ token, channels = [], enter } = {}) {
      const name = `client${(number += 1)}`;
      const connection = await page.evaluate(
        async ({ url, token, channels, enter, name }) => {
          const socket = new WebSocket(url, "fanfare.v1.json");
          const waiting = new Map();
          let id = 0;
          const say = (command, body) =>
            new Promise((resolve, reject) => {
              id += 1;
              waiting.set(id, { resolve, reject });
              socket.send(JSON.stringify({ id, [command]: body }));
            });
          const closed = new Promise((resolve) => socket.addEventListener("close", (event) => resolve(event.code)));
          socket.addEventListener("message", ({ data }) => {
            for (const line of data.split("\n")) {
              const frame = JSON.parse(line);
              const asked = waiting.get(frame.id);
              if (frame.ok !== undefined) asked?.resolve(frame.ok);
              else if (frame.error !== undefined) asked?.reject(new Error(JSON.stringify(frame.error)));
            }
          });
          await new Promise((resolve, reject) => {
            socket.addEventListener("open", resolve);
            socket.addEventListener("error", () => reject(new Error("the socket does not open")));
          });
          const hello = await say("connect", token === undefined ? {} : { token });
          for (const channel of channels) await say("subscribe", { channel });
          if (enter !== undefined) await say("presence", enter);
          globalThis[name] = { socket, say, closed };
          return hello.connection;
        },
        { url, token, channels, enter, name },
      );
      return {
        connection,
        /** Says a command; answers `{ ok }` or `{ error }`. */
        say: (command, body) =>
          page.evaluate(
            ({ name, command, body }) =>
              globalThis[name].say(command, body).then(
                (ok) => ({ ok }),
                (error) => ({ error: JSON.parse(error.message) }),
              ),
            { name, command, body },
          ),
        /** The code that it is closed with. */
        closed: () => page.evaluate((name) => globalThis[name].closed, name),
        close: () => page.evaluate((name) => globalThis[name].socket.close(), name),
      };
    },
  };
}
