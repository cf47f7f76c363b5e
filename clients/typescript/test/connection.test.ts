import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.js";
import { Fanfare, FanfareError } from "../src/index.js";
import { FakeClock, settled, World } from "./fake.js";

test("the app's URL becomes its socket's, and anything else is refused with the reason", async () => {
  const world = new World({ token: "t" });
  const socket = await world.connect();
  assert.equal(socket.url, "wss://live.example/v1/apps/app_1/socket");
  assert.deepEqual(socket.protocols, ["fanfare.v1.json"]);
  assert.deepEqual(socket.sent[0], { id: 1, connect: { token: "t" } });
  assert.equal(world.ff.connection, "con_1");
  for (const url of ["", "live.example", "ftp://a/v1/apps/b", "https://a/", "https://a/v1/apps/b?token=x"]) {
    assert.throws(() => new Fanfare(url, { WebSocket: world.socket.constructor as never }), { code: "invalid_url" }, url);
  }
});

test("a platform without WebSocket says what to pass", (context) => {
  const there = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Object.defineProperty(globalThis, "WebSocket", { value: undefined, configurable: true, writable: true });
  context.after(() => {
    if (there === undefined) delete (globalThis as { WebSocket?: unknown }).WebSocket;
    else Object.defineProperty(globalThis, "WebSocket", there);
  });
  assert.throws(() => new Fanfare("http://localhost:8000/v1/apps/app_1"), { code: "no_websocket", message: /`ws`/ });
});

test("backoff draws from the whole of 200 ms doubled up to 20 s", () => {
  const clock = new FakeClock();
  const backoff = new Backoff(clock);
  clock.chance = 0.999_999;
  const longest = Array.from({ length: 10 }, () => backoff.next());
  assert.deepEqual(longest, [199, 399, 799, 1599, 3199, 6399, 12799, 19999, 19999, 19999]);
  clock.chance = 0;
  assert.equal(backoff.next(), 0);
  assert.equal(backoff.next(700), 700, "never sooner than the server asked");
  clock.chance = 0.5;
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test("a lost connection is sought again, waiting longer each time", async () => {
  const world = new World();
  await world.connect();
  for (let attempt = 0; attempt < 4; attempt++) {
    world.socket.drop();
    await world.clock.pass(1_000);
  }
  const waits = world.states.filter((change) => change.state === "reconnecting").map((change) => change.retryInMs);
  assert.deepEqual(waits, [100, 200, 400, 800]);
  assert.equal(world.sockets.length, 5);
});

test("a connection that lived makes the next wait short again, one that did not does not", async () => {
  const world = new World();
  await world.connect();
  world.socket.drop();
  await world.connect();
  world.socket.drop();
  assert.equal(world.states.at(-1)?.retryInMs, 200);
  await world.connect();
  await world.clock.pass(5_000);
  world.socket.drop();
  assert.equal(world.states.at(-1)?.retryInMs, 100);
});

test("close numbers say what to do", async () => {
  const table = [
    { code: 4010, reason: "origin_denied", ends: "failed" },
    { code: 4100, reason: "rate_limited", ends: "reconnecting" },
    { code: 4200, reason: "moving", ends: "reconnecting" },
    { code: 4402, reason: "token_expired", ends: "failed" },
    { code: 1001, reason: "", ends: "reconnecting" },
    { code: 4999, reason: "x", ends: "reconnecting" },
  ];
  for (const { code, reason, ends } of table) {
    const world = new World({ token: "fixed" });
    await world.connect();
    world.socket.drop(code, reason);
    assert.equal(world.ff.state, ends, reason);
    const why = world.states.at(-1)?.reason;
    assert.equal(why?.code, code >= 4000 && code < 4500 ? reason : "connection_lost");
    assert.equal(why?.closeCode, code);
  }
});

test("a token that was refused is asked for anew, at once and then waiting", async () => {
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  await world.connect();
  await world.clock.pass(5_000);
  world.socket.drop(4402, "token_expired");
  assert.equal(world.states.at(-1)?.retryInMs, 0);
  await world.clock.pass(0);
  world.socket.onopen?.({});
  assert.deepEqual(world.socket.last("connect")["connect"], { token: "token 2" });
  world.socket.refuse("connect", { code: "token_invalid" });
  assert.equal(world.ff.state, "reconnecting");
  assert.equal(world.states.at(-1)?.retryInMs, 200);
});

test("a refused connect fails for good, or waits as long as the server says", async () => {
  const failed = new World();
  const lost = failed.ff.channel("room:9").publish("a", 1);
  await failed.clock.pass(0);
  failed.socket.onopen?.({});
  failed.socket.refuse("connect", { code: "tenant_suspended" });
  assert.equal(failed.ff.state, "failed");
  await assert.rejects(lost, { code: "tenant_suspended" });
  await assert.rejects(failed.ff.channel("room:9").publish("a", 1), { code: "closed" });
  assert.equal(failed.clock.timers, 0, "nothing goes on behind a failed client");

  const later = new World();
  await later.clock.pass(0);
  later.socket.onopen?.({});
  later.socket.refuse("connect", { code: "overloaded", retryable: true, retry_after_ms: 3_000 });
  assert.equal(later.states.at(-1)?.retryInMs, 3_100);
});

test("a refused handshake fails for good when the app is not there, and only then", async () => {
  const asked: string[] = [];
  const answers = [{ code: "invalid_request" }, { code: "not_found", detail: "There is no such app." }];
  const fetch = (url: string) => {
    asked.push(url);
    return Promise.resolve({ json: () => Promise.resolve(answers.shift()) });
  };
  const world = new World({ fetch: fetch as never });
  await world.clock.pass(0);
  world.socket.drop();
  await settled();
  assert.equal(world.ff.state, "reconnecting");
  await world.clock.pass(250);
  world.socket.drop();
  await settled();
  assert.equal(world.ff.state, "failed");
  assert.equal(world.states.at(-1)?.reason?.code, "not_found");
  assert.deepEqual(new Set(asked), new Set(["https://live.example/v1/apps/app_1/socket"]));

  const known = new World({ fetch: (() => Promise.resolve({ json: () => Promise.resolve({ code: "not_found" }) })) as never });
  await known.connect();
  known.socket.drop();
  await settled();
  assert.equal(known.ff.state, "reconnecting", "an app that was there may be back");
});

test("the states lead from connecting to closed, and connect opens it again", async () => {
  const world = new World();
  assert.equal(world.ff.state, "connecting");
  await world.connect();
  world.socket.drop();
  await world.connect();
  world.ff.close();
  assert.ok(world.socket.closed);
  assert.equal(world.clock.timers, 0);
  assert.equal(world.path, "connected reconnecting connected closed");
  world.ff.connect();
  await world.connect();
  assert.equal(world.ff.state, "connected");
});

test("closing during the token provider or the handshake leaves nothing behind", async () => {
  let give: (token: string) => void = () => {};
  const world = new World({ token: () => new Promise<string>((resolve) => (give = resolve)) });
  await world.clock.pass(0);
  world.ff.close();
  give("late");
  await world.clock.pass(60_000);
  assert.equal(world.sockets.length, 0);

  const dialling = new World();
  await dialling.clock.pass(0);
  dialling.ff.close();
  assert.ok(dialling.socket.closed);
  assert.equal(dialling.socket.onopen, null);
  assert.equal(dialling.ff.state, "closed");
});

test("a handshake without an end is given up after ten seconds", async () => {
  const world = new World();
  await world.clock.pass(10_000);
  assert.ok(world.sockets[0]?.closed);
  assert.equal(world.ff.state, "reconnecting");
  assert.equal(world.states.at(-1)?.reason?.code, "connection_lost");
});

test("a silence is answered with a ping, and a second one with a new connection", async () => {
  const world = new World();
  const socket = await world.connect({ heartbeat_ms: 1_000 });
  await world.clock.pass(900);
  socket.message(1);
  await world.clock.pass(900);
  assert.equal(socket.count("ping"), 0, "whatever is heard counts");
  await world.clock.pass(100);
  assert.equal(socket.count("ping"), 1);
  socket.ok("ping", { time: 1 });
  await world.clock.pass(1_000);
  assert.equal(socket.count("ping"), 2);
  assert.equal(world.ff.state, "connected");
  await world.clock.pass(1_000);
  assert.ok(socket.closed);
  assert.equal(world.ff.state, "reconnecting");
});

test("a page that slept asks before it judges", async () => {
  const world = new World();
  const socket = await world.connect({ heartbeat_ms: 1_000 });
  world.clock.time += 3_600_000;
  await world.clock.pass(0);
  assert.equal(socket.count("ping"), 1);
  assert.equal(world.ff.state, "connected");
});

test("a reconnect push is obeyed when its time has come", async () => {
  const world = new World();
  const first = await world.connect();
  first.say({ reconnect: { after_ms: 2_000 } });
  await world.clock.pass(1_999);
  assert.equal(world.ff.state, "connected");
  await world.clock.pass(1);
  assert.ok(first.closed);
  await world.connect();
  assert.equal(world.path, "connected reconnecting connected");
});

test("what is no frame ends the connection, what is unknown is ignored", async () => {
  const world = new World();
  const socket = await world.connect();
  socket.say({ weather: { sun: true }, new: 1 });
  socket.say({ id: 77, ok: {} });
  assert.equal(world.ff.state, "connected");
  socket.onmessage?.({ data: "{" });
  assert.equal(world.ff.state, "reconnecting");
});

test("an error carries what the server told", () => {
  const error = new FanfareError({ code: "forbidden", detail: "no", layer: "acl", rule: "rul_1", request_id: "req_1" });
  assert.ok(error instanceof Error);
  assert.deepEqual([error.name, error.message, error.layer, error.rule, error.requestId], ["FanfareError", "no", "acl", "rul_1", "req_1"]);
});
