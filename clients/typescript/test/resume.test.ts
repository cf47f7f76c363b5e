import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, World } from "./fake.js";

test("a client that comes back says everything in one frame, and is not asked to wait for it", async () => {
  const world = new World({ token: () => "t" });
  void world.ff.channel("a").subscribe(() => {});
  void world.ff.channel("b").subscribe(() => {});
  const first = await world.connect({ resume: "ticket 1", expires_ms: 3_600_000 });
  assert.equal(first.frames[0], 3);
  first.ok("ping", { time: 0 });
  for (const sent of first.sent.slice(1, 3)) {
    first.say({ id: sent.id, ok: { channel: sent["subscribe"].channel, lineage: "L1", seq: 4 } });
  }
  first.drop();
  const second = await world.connect({ resume: "ticket 2", resumed: true });
  assert.equal(second.frames[0], 3);
  assert.deepEqual(second.sent.slice(0, 3), [
    { id: 1, connect: { resume: "ticket 1" } },
    { id: 2, subscribe: { channel: "a", position: "L1.4" } },
    { id: 3, subscribe: { channel: "b", position: "L1.4" } },
  ]);
  second.drop();
  const third = await world.connect();
  assert.deepEqual(third.sent[0], { id: 1, connect: { resume: "ticket 2" } });
  third.drop();
  assert.deepEqual((await world.connect()).sent[0], { id: 1, connect: { token: "t" } }, "a server may give none");
});

test("a token that the server has not seen goes with the ticket, and a renewed one brings another ticket", async () => {
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  const first = await world.connect({ resume: "ticket 1", expires_ms: 600_000 });
  first.ok("ping", { time: 0 });
  world.clock.time += 595_000;
  first.drop();
  const second = await world.connect({ resume: "ticket 2", resumed: true, expires_ms: 1_200_000 });
  assert.deepEqual(second.sent[0], { id: 1, connect: { token: "token 2", resume: "ticket 1" } });
  const refreshed = world.ff.refresh();
  await settled();
  second.ok("refresh", { expires_ms: 1_300_000, resume: "ticket 3" });
  await refreshed;
  for (const sent of second.sent.filter((sent) => "ping" in sent)) second.say({ id: sent.id, ok: { time: 600_000 } });
  second.drop();
  assert.deepEqual((await world.connect()).sent[0], { id: 1, connect: { resume: "ticket 3" } });
  assert.equal(tokens, 3);
});

test("a ticket that does not hold is let go, and its client comes back without it at once", async () => {
  const world = new World();
  const socket = await world.connect({ resume: "ticket" });
  await world.clock.pass(6_000);
  socket.drop();
  await world.clock.pass(200);
  world.socket.onopen?.({});
  assert.deepEqual(world.socket.sent[0], { id: 1, connect: { resume: "ticket" } });
  world.socket.refuse("connect", { code: "resume_invalid" });
  assert.deepEqual([world.ff.state, world.states.at(-1)?.retryInMs], ["reconnecting", 0]);
  await world.clock.pass(0);
  world.socket.onopen?.({});
  assert.deepEqual(world.socket.sent[0], { id: 1, connect: {} });
  world.ff.close();
});

test("a ticket and a token that was refused are not kept beyond the end", async () => {
  const world = new World({ token: "fixed" });
  (await world.connect({ resume: "ticket" })).drop(4403, "token_revoked");
  assert.equal(world.ff.state, "failed");
  await world.ff.refresh("another");
  void world.ff.connect();
  assert.deepEqual((await world.connect()).sent[0], { id: 1, connect: { token: "another" } });
});

test("a channel left before the connection was welcomed is left on the server too", async () => {
  const world = new World();
  const room = world.ff.channel("room:9");
  void room.subscribe(() => {});
  await world.clock.pass(0);
  world.socket.onopen?.({});
  void room.unsubscribe();
  void room.subscribe(() => {});
  assert.deepEqual(
    world.socket.sent.map((sent) => Object.keys(sent)[1]),
    ["connect", "subscribe", "unsubscribe", "subscribe"],
  );
});

test("a position that the server gave and no longer knows is told as a gap, and the channel goes on", async () => {
  const world = new World();
  const seen: unknown[] = [];
  const start = world.ff.channel("room:9").subscribe((message) => seen.push(message.data), {
    onGap: (gap) => seen.push(gap),
  });
  (await world.connect()).subscribed({ seq: 5 });
  await start;
  world.socket.drop();
  const next = await world.connect();
  next.refuse("subscribe", { code: "invalid_position" });
  await world.clock.pass(0);
  assert.deepEqual(next.last("subscribe")["subscribe"], { channel: "room:9" });
  next.subscribed({ lineage: "L2", seq: 9 });
  next.message(10);
  assert.deepEqual(seen, [{ channel: "room:9", reason: "invalid_position", from: "L1.5", to: "L2.9" }, 10]);
});

test("connect tells when the client is connected, or that it never will be", async () => {
  const world = new World();
  const early = world.ff.connect();
  await world.connect();
  await early;
  await world.ff.connect();
  world.socket.drop();
  const never = assert.rejects(world.ff.connect(), { code: "closed" });
  world.ff.close();
  await never;
  const refused = assert.rejects(world.ff.connect(), { code: "origin_denied" });
  await world.clock.pass(0);
  world.socket.drop(4010, "origin_denied");
  await refused;
});

test("refresh gives the server a new token over the live connection", async () => {
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  const socket = await world.connect({ expires_ms: 3_600_000 });
  const refreshed = world.ff.refresh();
  await settled();
  assert.deepEqual(socket.last("refresh")["refresh"], { token: "token 2" });
  socket.ok("refresh", { expires_ms: 7_200_000 });
  await refreshed;
  const refused = assert.rejects(world.ff.refresh("of my own"), { code: "token_invalid" });
  await settled();
  assert.deepEqual(socket.last("refresh")["refresh"], { token: "of my own" });
  socket.refuse("refresh", { code: "token_invalid" });
  await refused;
});

test("a token that changes while a connection is made is given to it afterwards", async () => {
  const world = new World({ token: "old" });
  await world.clock.pass(0);
  await world.ff.refresh("new");
  world.socket.hello();
  await settled();
  assert.deepEqual(world.socket.sent.map((sent) => sent["connect"] ?? sent["refresh"]), [{ token: "old" }, { token: "new" }]);
});

test("a notice that the token ends renews it, unless it is about an earlier one", async () => {
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  const notices: unknown[] = [];
  world.ff.on("notice", (notice) => notices.push(notice.kind));
  const socket = await world.connect({ expires_ms: 600_000 });
  for (let twice = 0; twice < 2; twice++) socket.say({ notice: { kind: "token_expiring", expires_ms: 600_000 } });
  await settled();
  assert.equal(socket.count("refresh"), 1);
  socket.ok("refresh", { expires_ms: 1_200_000 });
  await settled();
  socket.say({ notice: { kind: "token_expiring", expires_ms: 600_000 } });
  await settled();
  assert.equal(tokens, 2);
  assert.deepEqual(notices, ["token_expiring", "token_expiring", "token_expiring"]);
});

test("a ping says how long the way there and back is", async () => {
  const world = new World();
  await assert.rejects(world.ff.ping(), { code: "connection_lost" });
  const socket = await world.connect();
  const ping = world.ff.ping();
  world.clock.time += 37;
  socket.ok("ping", { time: 1 });
  assert.equal(await ping, 37);
  const cut = assert.rejects(world.ff.ping(), { code: "connection_lost", retryable: true });
  socket.drop();
  await cut;
});

test("a channel token is got for its subscription, kept while it serves and got anew when it ended", async () => {
  const world = new World();
  let tokens = 0;
  const room = world.ff.channel("room:9");
  const start = room.subscribe(() => {}, { token: async () => `channel token ${++tokens}` });
  const first = await world.connect();
  assert.deepEqual(first.last("subscribe")["subscribe"], { channel: "room:9", token: "channel token 1" });
  first.subscribed({ seq: 5 });
  await start;
  first.drop();
  const second = await world.connect();
  const again = { channel: "room:9", position: "L1.5", token: "channel token 1" };
  assert.deepEqual(second.last("subscribe")["subscribe"], again);
  second.subscribed({ seq: 5, recovered: true });
  second.say({ unsubscribed: { channel: "room:9", error: { code: "token_expired", detail: "", retryable: false } } });
  await world.clock.pass(0);
  assert.deepEqual(second.last("subscribe")["subscribe"], { ...again, token: "channel token 2" });
  second.refuse("subscribe", { code: "token_invalid" });
  assert.deepEqual(world.errors, []);
  const asked = second.count("subscribe");
  await world.clock.pass(100);
  assert.equal(second.count("subscribe"), asked, "the second time it waits");
  await world.clock.pass(100);
  assert.deepEqual(second.last("subscribe")["subscribe"].token, "channel token 3");
  world.ff.close();
});

test("a channel token is renewed in good time on the live subscription", async () => {
  const world = new World();
  let tokens = 0;
  const start = world.ff.channel("room:9").subscribe(() => {}, { token: () => `channel token ${++tokens}` });
  const socket = await world.connect();
  socket.subscribed({ seq: 5, expires_ms: 100_000 });
  await start;
  socket.ok("ping", { time: 90_000 });
  await world.clock.pass(8_000);
  assert.deepEqual(socket.last("refresh")["refresh"], { token: "channel token 2", channel: "room:9" });
  socket.ok("refresh", { expires_ms: 200_000 });
  await settled();
  void world.ff.channel("room:9").unsubscribe();
  await world.clock.pass(24_000);
  socket.say({});
  await world.clock.pass(24_000);
  socket.say({});
  assert.equal(tokens, 2, "a subscription that ended renews nothing");
});

test("a channel token that cannot be had is reported and asked for again", async () => {
  const world = new World();
  await world.connect();
  let broken = true;
  const token = () => (broken ? Promise.reject(new Error("503")) : "t");
  void world.ff.channel("room:9").subscribe(() => {}, { token });
  await settled();
  assert.deepEqual(world.errors.map((error) => error.code), ["token_failed"]);
  broken = false;
  await world.clock.pass(200);
  assert.equal(world.socket.last("subscribe")["subscribe"].token, "t");
});
