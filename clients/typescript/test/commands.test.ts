import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, World } from "./fake.js";

test("a publish resolves with its acknowledgement, or fails with the server's error", async () => {
  const world = new World();
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  const accepted = room.publish("greet", "hi");
  const { id, ...draft } = socket.last("publish")["publish"];
  assert.deepEqual(draft, { channel: "room:9", name: "greet", data: "hi" });
  assert.match(id, /^[\w-]{20}$/);
  const ack = { id, position: "L1.1", durability: "memory", duplicate: false };
  socket.ok("publish", ack);
  assert.deepEqual(await accepted, ack);

  const refused = room.publish({ data: 1 });
  socket.refuse("publish", { code: "rate_limited", retryable: true, limit: "publish_app", retry_after_ms: 40 });
  await assert.rejects(refused, {
    name: "FanfareError",
    code: "rate_limited",
    retryable: true,
    limit: "publish_app",
    retryAfterMs: 40,
    channel: "room:9",
  });
});

test("bytes travel as base64 and come back as bytes", async () => {
  const world = new World();
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  const bytes = Uint8Array.from({ length: 20_000 }, (_, at) => at % 256);
  void room.publish({ data: bytes, id: "mine" });
  const sent = socket.last("publish")["publish"];
  assert.deepEqual([sent.encoding, sent.id], ["base64", "mine"]);
  const got: unknown[] = [];
  void room.subscribe((message) => got.push(message.data));
  socket.subscribed();
  socket.message(1, { data: sent.data, encoding: "base64" });
  assert.deepEqual(got, [bytes]);
});

test("what is no JSON is refused before it is sent", async () => {
  const world = new World();
  await assert.rejects(world.ff.channel("room:9").publish("n", 1n), { code: "invalid_request" });
});

test("history gives messages with positions and where to go on", async () => {
  const world = new World();
  const socket = await world.connect();
  const page = world.ff.channel("room:9").history({ limit: 2 });
  assert.deepEqual(socket.last("history")["history"], { channel: "room:9", limit: 2 });
  const messages = [{ seq: 2, id: "b", data: 2, time: 2, publisher: "ann" }, { seq: 1, id: "a", data: 1, time: 1 }];
  socket.ok("history", { channel: "room:9", lineage: "L1", messages, truncated: false, next: "L1.1" });
  const { messages: got, next, truncated } = await page;
  assert.deepEqual(got.map((message) => message.position), ["L1.2", "L1.1"]);
  assert.deepEqual([got[0]?.publisher, next, truncated], ["ann", "L1.1", false]);
});

test("commands wait for a connection in their order, and an unanswered one is sent again under its id", async () => {
  const world = new World();
  const room = world.ff.channel("room:9");
  const waiting = [room.publish("a", 1), room.publish("b", 2)];
  const first = await world.connect();
  assert.deepEqual(first.sent.map((sent) => sent["publish"]?.name), [undefined, "a", "b"]);
  first.say({ id: 2, ok: { id: "x", position: "L1.1", durability: "memory", duplicate: false } });
  first.drop();
  const later = room.publish("c", 3);
  const second = await world.connect();
  assert.deepEqual(second.sent.map((sent) => sent["publish"]?.name), [undefined, "b", "c"]);
  assert.equal(second.sent[1]?.["publish"].id, first.sent[2]?.["publish"].id);
  for (const id of [2, 3]) second.say({ id, ok: { id: "x", position: "L1.2", durability: "memory", duplicate: id === 2 } });
  const answers = await Promise.all([...waiting, later]);
  assert.deepEqual(answers.map((answer) => answer.duplicate), [false, true, false]);
});

test("the queue is bounded in commands and in bytes", async () => {
  const world = new World({ queueMax: 2 });
  const room = world.ff.channel("room:9");
  const kept = [room.publish("a", 1), room.publish("b", 2)];
  await assert.rejects(room.publish("c", 3), { code: "queue_full", retryable: true });
  world.ff.close();
  for (const publish of kept) await assert.rejects(publish, { code: "closed" });

  const bytes = new World();
  const huge = "x".repeat(5 * 1024 * 1024);
  void bytes.ff.channel("room:9").publish("a", huge);
  await assert.rejects(bytes.ff.channel("room:9").publish("a", huge), { code: "queue_full" });
  bytes.ff.close();
});

test("closing with commands and subscriptions that nobody waits for raises nothing", async (context) => {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", listener);
  context.after(() => process.off("unhandledRejection", listener));
  const world = new World();
  void world.ff.channel("room:9").publish("a", 1);
  void world.ff.channel("room:9").subscribe(() => {});
  world.ff.close();
  await settled();
  await settled();
  assert.deepEqual(unhandled, []);
});
