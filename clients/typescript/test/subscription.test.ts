import assert from "node:assert/strict";
import { test } from "node:test";
import type { Gap, Message } from "../src/index.js";
import { FakeSocket, settled, World } from "./fake.js";

/** A handler that notes what it is given and waits until it is let go. */
function slow(): { seen: unknown[]; handler: (message: Message) => Promise<void>; release: () => Promise<void> } {
  const seen: unknown[] = [];
  let go: () => void = () => {};
  return {
    seen,
    handler: (message) => {
      seen.push(message.data);
      return new Promise((resolve) => (go = resolve));
    },
    release: async () => {
      go();
      await settled();
    },
  };
}

async function subscribed(world: World, handler: (message: Message) => unknown): Promise<FakeSocket> {
  const socket = await world.connect();
  void world.ff.channel("room:9").subscribe(handler);
  socket.subscribed({ seq: 5 });
  return socket;
}

test("a subscription starts from now, from a position or with the last messages", async () => {
  const world = new World();
  const socket = await world.connect();
  const table = [
    { options: {}, sent: { channel: "a:0" } },
    { options: { position: "L1.4" }, sent: { channel: "a:1", position: "L1.4" } },
    { options: { rewind: { messages: 10 } }, sent: { channel: "a:2", rewind: { messages: 10 } } },
  ];
  for (const [at, { options, sent }] of table.entries()) {
    const started = world.ff.channel(`a:${at}`).subscribe(() => {}, options);
    assert.deepEqual(socket.last("subscribe")["subscribe"], sent);
    socket.subscribed({ seq: 4, ...(at === 1 && { recovered: true }) });
    assert.deepEqual(await started, { position: "L1.4", recovered: at === 1 ? true : undefined });
  }
});

test("an answer and the messages behind it may come in one breath", async () => {
  const world = new World();
  const seen: unknown[] = [];
  const socket = await world.connect();
  void world.ff.channel("room:9").subscribe((message) => seen.push(message.data));
  socket.subscribed();
  socket.message(1);
  socket.message(2);
  assert.deepEqual(seen, [1, 2]);
});

test("an async handler is given one message at a time", async () => {
  const world = new World();
  const { seen, handler, release } = slow();
  const socket = await subscribed(world, handler);
  for (const seq of [6, 7, 8]) socket.message(seq);
  assert.deepEqual(seen, [6]);
  await release();
  assert.deepEqual(seen, [6, 7]);
  await release();
  assert.deepEqual(seen, [6, 7, 8]);
});

test("a position is kept only after the handler returned", async () => {
  const world = new World();
  const { handler, release } = slow();
  const socket = await subscribed(world, handler);
  const room = world.ff.channel("room:9");
  assert.equal(room.position, "L1.5");
  socket.message(6);
  socket.message(7);
  assert.equal(room.position, "L1.5");
  await release();
  assert.equal(room.position, "L1.6");
  socket.drop();
  const next = await world.connect();
  assert.deepEqual(next.last("subscribe")["subscribe"], { channel: "room:9", position: "L1.6" });
});

test("what comes twice after a reconnect is handled once, in order", async () => {
  const world = new World();
  const { seen, handler, release } = slow();
  const socket = await subscribed(world, handler);
  socket.message(6);
  socket.message(7);
  socket.drop();
  const next = await world.connect();
  assert.equal(next.last("subscribe")["subscribe"].position, "L1.5");
  next.subscribed({ lineage: "L2", seq: 5, recovered: true });
  for (const seq of [6, 7, 8]) next.message(seq);
  for (let turn = 0; turn < 4; turn++) await release();
  assert.deepEqual(seen, [6, 7, 8]);
  assert.equal(world.ff.channel("room:9").position, "L2.8");
});

test("ten thousand ids are remembered, and a number that came before is dropped", async () => {
  const world = new World();
  const seen: string[] = [];
  const socket = await subscribed(world, (message) => seen.push(message.id));
  for (let seq = 6; seq < 10_006; seq++) socket.message(seq);
  socket.message(10_006, { id: "m6" });
  socket.message(10_005, { id: "new" });
  assert.equal(seen.length, 10_000);
  assert.equal(world.ff.channel("room:9").position, "L1.10006", "a repeat is a step forward all the same");
  socket.message(10_007);
  socket.message(10_008, { id: "m6" });
  assert.equal(seen.length, 10_002, "the oldest id is forgotten");
});

test("a gap is told once, before anything later, and is no place to resume from again", async () => {
  const world = new World();
  const order: unknown[] = [];
  let finish: () => void = () => {};
  const socket = await world.connect();
  const onGap = (gap: Gap) => {
    order.push(gap);
    return new Promise<void>((resolve) => (finish = resolve));
  };
  const start = world.ff.channel("room:9").subscribe((message) => order.push(message.data), { position: "L0.3", onGap });
  const gap = { reason: "truncated", from: "L0.3", to: "L1.8" };
  socket.subscribed({ seq: 8, recovered: false, ...gap });
  socket.message(9);
  assert.equal((await start).recovered, false);
  assert.deepEqual(order, [{ channel: "room:9", ...gap }]);
  socket.drop();
  const next = await world.connect();
  assert.equal(next.last("subscribe")["subscribe"].position, "L1.8");
  next.subscribed({ seq: 8, recovered: true });
  next.message(9);
  finish();
  await settled();
  assert.deepEqual(order.slice(1), [9]);
});

test("messages held from before a gap come before it, and a lost connection does not repeat it", async () => {
  const world = new World();
  const { seen, handler, release } = slow();
  const socket = await world.connect();
  void world.ff.channel("room:9").subscribe(handler, { onGap: (gap) => void seen.push(gap.reason) });
  socket.subscribed({ seq: 5 });
  socket.message(6);
  socket.message(7);
  const recovery = { channel: "room:9", recovered: false, reason: "epoch_changed", from: "L1.7", to: "L2.0" };
  socket.say({ recovery: { ...recovery, lineage: "L2", seq: 0 } });
  socket.message(1, { id: "n1" });
  await release();
  socket.drop();
  const next = await world.connect();
  assert.equal(next.last("subscribe")["subscribe"].position, "L2.0");
  next.subscribed({ lineage: "L2", seq: 0, recovered: true });
  next.message(1, { id: "n1" });
  next.message(2, { id: "n2" });
  for (let turn = 0; turn < 4; turn++) await release();
  assert.deepEqual(seen, [6, 7, "epoch_changed", 1, 2]);
});

test("a log that goes on under another lineage is no gap, and the next connection continues in that", async () => {
  const world = new World();
  const seen: unknown[] = [];
  const socket = await subscribed(world, (message) => void seen.push(message.data));
  socket.message(6);
  await settled();
  socket.say({ recovery: { channel: "room:9", recovered: true, lineage: "L2", seq: 6 } });
  socket.drop();
  const next = await world.connect();
  assert.equal(next.last("subscribe")["subscribe"].position, "L2.6");
  next.subscribed({ lineage: "L2", seq: 6, recovered: true });
  next.message(7);
  await settled();
  assert.deepEqual(seen, [6, 7]);
  assert.deepEqual(world.gaps, []);
});

test("without onGap the client's gap event tells", async () => {
  const world = new World();
  const socket = await subscribed(world, () => {});
  socket.say({ recovery: { channel: "room:9", recovered: false, reason: "diverged", lineage: "L2", seq: 0 } });
  assert.deepEqual(world.gaps.map((gap) => gap.reason), ["diverged"]);
});

test("a handler that throws is reported, the next message comes, and its position was not kept", async () => {
  const world = new World();
  const seen: unknown[] = [];
  const socket = await subscribed(world, (message) => {
    seen.push(message.data);
    if (message.data === 6) throw new Error("broken");
  });
  socket.message(6);
  await settled();
  assert.equal(world.ff.channel("room:9").position, "L1.5");
  assert.deepEqual(world.errors.map((error) => [error.code, error.channel]), [["handler_failed", "room:9"]]);
  socket.drop();
  const next = await world.connect();
  next.subscribed({ seq: 5, recovered: true });
  next.message(6);
  await settled();
  next.message(7);
  assert.deepEqual(seen, [6, 6, 7]);
  assert.equal(world.ff.channel("room:9").position, "L1.7");
});

test("handlers of one channel share its subscription, and the last one to leave ends it", async () => {
  const world = new World();
  const seen: string[] = [];
  const one = () => seen.push("one");
  const socket = await subscribed(world, one);
  const room = world.ff.channel("room:9");
  await room.subscribe(() => seen.push("two"));
  assert.equal(socket.count("subscribe"), 1);
  await assert.rejects(room.subscribe(() => {}, { position: "L1.1" }), { code: "already_subscribed" });
  socket.message(6);
  await room.unsubscribe(one);
  socket.message(7);
  const gone = room.unsubscribe();
  assert.deepEqual(socket.last("unsubscribe")["unsubscribe"], { channel: "room:9" });
  socket.ok("unsubscribe");
  await gone;
  socket.message(8);
  assert.deepEqual(seen, ["one", "two", "two"]);
  assert.equal(room.position, undefined);
  socket.drop();
  assert.equal((await world.connect()).count("subscribe"), 0);
});

test("a new subscription hears nothing of the one before it", async () => {
  const world = new World();
  const seen: unknown[] = [];
  const socket = await subscribed(world, () => seen.push("old"));
  const room = world.ff.channel("room:9");
  void room.unsubscribe();
  void room.subscribe((message) => seen.push(message.data));
  socket.message(6);
  socket.ok("unsubscribe");
  socket.subscribed({ seq: 6 });
  socket.message(7);
  assert.deepEqual(seen, [7]);
});

test("a refusal fails the promise; one that may pass is tried again", async () => {
  const world = new World();
  const socket = await world.connect();
  const denied = world.ff.channel("room:9").subscribe(() => {});
  socket.refuse("subscribe", { code: "forbidden", layer: "acl" });
  await assert.rejects(denied, { code: "forbidden", layer: "acl", channel: "room:9" });
  assert.deepEqual(world.errors, []);

  const later = world.ff.channel("room:9").subscribe(() => {});
  socket.refuse("subscribe", { code: "rate_limited", retryable: true, retry_after_ms: 500 });
  await world.clock.pass(599);
  assert.equal(socket.count("subscribe"), 2);
  await world.clock.pass(1);
  assert.equal(socket.count("subscribe"), 3);
  socket.subscribed();
  assert.equal((await later).position, "L1.0");
});

test("a subscription that the server ends is reported, and gone", async () => {
  const world = new World();
  const socket = await subscribed(world, () => {});
  socket.say({ unsubscribed: { channel: "room:9", error: { code: "forbidden", detail: "no", retryable: false } } });
  assert.deepEqual(world.errors.map((error) => [error.code, error.channel]), [["forbidden", "room:9"]]);
  socket.drop();
  assert.equal((await world.connect()).count("subscribe"), 0);
});

test("handlers that cannot keep up stop the flow, and the rest is fetched when they are through", async () => {
  const world = new World();
  let count = 0;
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  const socket = await subscribed(world, () => {
    count += 1;
    return gate;
  });
  for (let seq = 6; seq < 10_100; seq++) socket.message(seq);
  assert.equal(socket.count("unsubscribe"), 1);
  open();
  while (socket.count("subscribe") < 2) await settled();
  assert.equal(count, 10_001, "one in hand and ten thousand held");
  assert.equal(socket.last("subscribe")["subscribe"].position, "L1.10006");
  socket.ok("unsubscribe");
  socket.subscribed({ seq: 10_006, recovered: true });
  for (let seq = 10_007; seq < 10_100; seq++) socket.message(seq);
  for (let turn = 0; turn < 200; turn++) await settled();
  assert.equal(count, 10_094);
});
