/** The running platform: FANFARE_URL is an app's URL, FANFARE_KEY one of its keys with every capability. */
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { after } from "node:test";
import { WebSocket } from "ws";
import { Fanfare, type Message, type Options, type SocketClass } from "../src/index.js";

export const url = need("FANFARE_URL").replace(/\/$/, "");
const [keyId = "", secret = ""] = need("FANFARE_KEY").split(":");
export const run = randomUUID().slice(0, 8);
const clients: Fanfare[] = [];

function need(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set; cargo xtask run prints it`);
  return value;
}

/** What a backend does with any JWT library. */
export function sign(claims: object, options: { secret?: string; lifetime?: number } = {}): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const lifetime = options.lifetime ?? 600;
  const body = `${part({ alg: "HS256", typ: "JWT", kid: keyId })}.${part({ iat: now, exp: now + lifetime, ...claims })}`;
  return `${body}.${createHmac("sha256", options.secret ?? secret).update(body).digest("base64url")}`;
}

export const cap = (channel: string, ...operations: string[]) => ({ sub: "ann", ff: { cap: { [channel]: operations } } });

export function client(options: Options = {}, address = url): Fanfare {
  const ff = new Fanfare(address, { WebSocket: WebSocket as unknown as SocketClass, ...options });
  clients.push(ff);
  return ff;
}

/** Publishes as a backend does. */
export async function post(channel: string, body: object): Promise<{ id: string; position: string; duplicate: boolean }> {
  const answer = await fetch(`${url}/channels/${encodeURIComponent(channel)}/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${keyId}:${secret}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${answer.status} ${text}`);
  return JSON.parse(text);
}

/** A handler that collects, and a promise for having so many. */
export function collector<T = unknown>(): { all: Message<T>[]; handler: (m: Message<T>) => void; has: (n: number) => Promise<void> } {
  const all: Message<T>[] = [];
  const waiting: { count: number; done: () => void }[] = [];
  return {
    all,
    handler: (message) => {
      all.push(message);
      for (const wait of waiting) if (all.length >= wait.count) wait.done();
    },
    has: (count) => (all.length >= count ? Promise.resolve() : new Promise((done) => waiting.push({ count, done }))),
  };
}

export const isConnected = (ff: Fanfare): Promise<void> =>
  new Promise((resolve, reject) => {
    if (ff.state === "connected") return resolve();
    ff.on("state", ({ state, reason }) => {
      if (state === "connected") resolve();
      if (state === "failed") reject(reason);
    });
  });

after(() => {
  for (const ff of clients) ff.close();
});
