import assert from "node:assert/strict";
import { test } from "node:test";
import { carrier } from "../src/carrier.js";
import { FakeClock, settled, World } from "./fake.js";

/** A server that answers requests when the test says so. */
class Requests {
  readonly all: { path: string; lines: string[]; answer: (lines: string[], status?: number) => void; aborted: () => boolean }[] = [];

  readonly fetch = (url: string, init: RequestInit = {}): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { signal } = init;
      signal?.addEventListener("abort", () => reject(new Error("aborted")));
      this.all.push({
        path: url.replace(/^.*\/app_1\//, ""),
        lines: String(init.body).split("\n"),
        answer: (lines, status = 200) => resolve(new Response(lines.map((line) => `${line}\n`).join(""), { status })),
        aborted: () => signal?.aborted === true,
      });
    });

  get last() {
    return this.all.at(-1)!;
  }
}

function open(door: "stream" | "poll") {
  const requests = new Requests();
  const heard: unknown[] = [];
  const ended: any[] = [];
  const socket = new (carrier(requests.fetch, door))("wss://live.example/v1/apps/app_1/socket");
  socket.onmessage = ({ data }) => data !== "{}" && heard.push(JSON.parse(data));
  socket.onclose = ({ error }) => ended.push(error);
  return { requests, heard, ended, socket };
}

test("polls carry the ticket on, and commands go with the next", async () => {
  const { requests, heard, socket } = open("poll");
  socket.send('{"id":1,"connect":{}}');
  socket.send('{"id":2,"subscribe":{"channel":"a"}}');
  await settled();
  assert.equal(requests.all.length, 1, "what is sent in one go is one request");
  assert.match(requests.last.path, /^poll\?wait_ms=\d+$/);
  requests.last.answer(['{"id":1,"ok":{}}', '{"id":2,"ok":{}}', '{"ticket":"t1"}']);
  await settled();
  assert.deepEqual(requests.last.lines, ['{"ticket":"t1"}', ""]);
  assert.equal(heard.length, 2);
  socket.send('{"id":3,"unsubscribe":{"channel":"a"}}');
  await settled();
  assert.ok(requests.all[1]?.aborted(), "nobody waits for what is asked anew");
  assert.deepEqual(requests.last.lines, ['{"ticket":"t1"}', '{"id":3,"unsubscribe":{"channel":"a"}}']);
  socket.send('{"id":4,"refresh":{"token":"x"}}');
  await settled();
  assert.equal(requests.all.length, 3, "a request with commands is not cut");
  requests.last.answer(['{"id":3,"ok":{}}', '{"ticket":"t2"}']);
  await settled();
  assert.deepEqual(requests.last.lines, ['{"ticket":"t2"}', '{"id":4,"refresh":{"token":"x"}}']);
});

test("publishes go beside what is under way, one after the other", async () => {
  const { requests, heard, socket } = open("poll");
  socket.send('{"id":1,"connect":{}}');
  await settled();
  requests.last.answer(['{"id":1,"ok":{}}', '{"ticket":"t1"}']);
  await settled();
  socket.send('{"id":2,"publish":{"channel":"a","data":1}}');
  await settled();
  socket.send('{"id":3,"publish":{"channel":"a","data":2}}');
  await settled();
  const [, poll, first] = requests.all;
  assert.deepEqual([poll?.aborted(), first?.path, requests.all.length], [false, "commands", 3]);
  first?.answer(['{"id":2,"ok":{}}']);
  await settled();
  assert.deepEqual(requests.last.lines, ['{"ticket":"t1"}', '{"id":3,"publish":{"channel":"a","data":2}}']);
  requests.last.answer(['{"id":3,"ok":{}}']);
  poll?.answer(['{"msg":{"channel":"a","seq":1}}', '{"ticket":"t2"}']);
  await settled();
  assert.deepEqual(heard.slice(1), [{ id: 2, ok: {} }, { id: 3, ok: {} }, { msg: { channel: "a", seq: 1 } }]);
  assert.deepEqual(requests.last.lines, ['{"ticket":"t2"}', ""]);
});

test("what stands behind the last ticket is not handed on", async () => {
  const { requests, heard, ended, socket } = open("stream");
  socket.send('{"id":1,"connect":{}}');
  await settled();
  requests.last.answer(['{"id":1,"ok":{}}', '{"ticket":"t1"}', '{"msg":{"channel":"a","seq":1}}']);
  await settled();
  assert.deepEqual(heard, [{ id: 1, ok: {} }]);
  assert.deepEqual([ended[0]?.code, ended[0]?.closeCode, ended[0]?.retry], ["connection_lost", 1006, "backoff"]);
});

test("an end and a refusal are told with their reason", async () => {
  const closed = open("stream");
  closed.socket.send('{"id":1,"connect":{}}');
  await settled();
  closed.requests.last.answer(['{"error":{"code":"x"}}', '{"close":{"status":4403,"reason":"token_revoked"}}']);
  await settled();
  assert.deepEqual([closed.heard.length, closed.ended[0]?.code, closed.ended[0]?.retry], [1, "token_revoked", "token"]);
  const refused = open("poll");
  refused.socket.send('{"id":1,"connect":{}}');
  await settled();
  const problem = { code: "overloaded", detail: "Later.", retryable: true, retry_after_ms: 700 };
  refused.requests.last.answer([JSON.stringify(problem)], 503);
  await settled();
  const [error] = refused.ended;
  assert.deepEqual([error?.code, error?.retry, error?.retryAfterMs], ["overloaded", "backoff", 700]);
  const strange = open("poll");
  strange.socket.send('{"id":1,"connect":{}}');
  await settled();
  strange.requests.last.answer(["<html>no</html>"], 502);
  await settled();
  assert.equal(strange.ended[0]?.code, "connection_lost");
});

test("the next way is tried where one does not work, and the first again when all failed", async () => {
  const requests = new Requests();
  const clock = new FakeClock();
  const world = new World({ transports: ["websocket", "stream", "poll"], clock, fetch: requests.fetch });
  const dialled = async (count: number) => {
    for (let tries = 0; tries < 200 && world.sockets.length < count; tries++) await clock.pass(100);
    return world.sockets.length >= count;
  };
  assert.ok(await dialled(1));
  world.socket.drop();
  assert.ok(await dialled(2));
  world.socket.drop();
  for (const path of ["stream", "stream", "poll", "poll"]) {
    const before = requests.all.filter((request) => request.path.startsWith(path)).length;
    const asked = () => requests.all.filter((request) => request.path.startsWith(path));
    for (let tries = 0; tries < 200 && asked().length === before; tries++) await clock.pass(100);
    assert.equal(asked().length, before + 1, path);
    asked().at(-1)?.answer(["nothing here"], 502);
    await settled();
  }
  assert.ok(await dialled(3), "a WebSocket again");
  world.socket.hello();
  await settled();
  assert.equal(world.ff.transport, "websocket");
  world.ff.close();
});

test("an attempt that nobody answers is enough to try the next way", async () => {
  const requests = new Requests();
  const clock = new FakeClock();
  const world = new World({ transports: ["websocket", "poll"], clock, fetch: requests.fetch });
  await clock.pass(0);
  assert.equal(world.sockets.length, 1);
  await clock.pass(11_000);
  const polls = requests.all.filter(({ path }) => path.startsWith("poll"));
  assert.equal(polls.length, 1);
  polls[0]?.answer(['{"id":1,"ok":{"connection":"con_1","heartbeat_ms":0,"limits":{}}}', '{"ticket":"t1"}']);
  await settled();
  assert.equal(world.ff.transport, "poll");
  // Later it is looked whether WebSockets work.
  await clock.pass(60_000);
  assert.equal(world.sockets.length, 2);
  world.socket.onclose?.({});
  await clock.pass(60_000);
  assert.equal(world.sockets.length, 2, "the second look comes later than the first");
  await clock.pass(60_000);
  assert.equal(world.sockets.length, 3);
  world.socket.onopen?.({});
  await clock.pass(1_000);
  assert.equal(world.sockets.length, 4, "the next connection is a WebSocket");
  world.socket.hello();
  await settled();
  assert.deepEqual([world.ff.transport, world.ff.state], ["websocket", "connected"]);
  world.ff.close();
});
