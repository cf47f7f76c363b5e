import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, World } from "./fake.js";

const ack = (id: string) => ({ id, position: "L1.1", durability: "memory", duplicate: false });

test("commands that waited go out many in a frame, and no frame is too large for the server", async () => {
  const world = new World();
  const room = world.ff.channel("room:9");
  for (let n = 0; n < 100; n++) void room.publish({ data: n, id: `${n}` });
  void room.publish({ data: "x".repeat(20_000), id: "large" });
  void room.publish({ data: "é".repeat(7_000), id: "accents" });
  void room.publish({ data: "é".repeat(2_000), id: "more" });
  const socket = await world.connect();
  assert.deepEqual(socket.frames, [1, 64, 36, 1, 1, 1]);
  world.ff.close();
});

test("what waited goes out as fast as the server takes it, and what comes later waits behind it", async () => {
  const world = new World();
  const room = world.ff.channel("room:9");
  for (let n = 0; n < 25; n++) void room.publish("n", n);
  const socket = await world.connect({ limits: { publish_connection: { max: 50, burst: 10 } } });
  assert.equal(socket.count("publish"), 9);
  void room.publish("n", 25);
  assert.equal(socket.count("publish"), 9);
  await world.clock.pass(200);
  assert.equal(socket.count("publish"), 18);
  await world.clock.pass(200);
  assert.deepEqual(
    socket.sent.filter((sent) => "publish" in sent).map((sent) => sent["publish"].data),
    Array.from({ length: 26 }, (_, n) => n),
  );
  void room.publish("n", 26);
  assert.equal(socket.count("publish"), 27, "with nothing before it a command goes at once");
  world.ff.close();
});

for (const code of ["outcome_unknown", "not_replicated"])
  test(`a publish that may be there (${code}) is sent again under its id, and later ones stay behind it`, () => again(code));

async function again(code: string): Promise<void> {
  const world = new World();
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  const first = room.publish("n", 1);
  const { id } = socket.last("publish")["publish"];
  socket.refuse("publish", { code, retryable: true, retry_after_ms: 300 });
  const second = room.publish("n", 2);
  assert.equal(socket.count("publish"), 1);
  await world.clock.pass(400);
  const again = socket.sent.filter((sent) => "publish" in sent).slice(1);
  assert.deepEqual(again.map((sent) => sent["publish"].data), [1, 2]);
  assert.equal(again[0]?.["publish"].id, id);
  for (const sent of again) socket.say({ id: sent.id, ok: ack(sent["publish"].id) });
  assert.equal((await first).id, id);
  await second;
}

test("an outcome that stays unknown is told after some tries", async () => {
  const world = new World();
  const socket = await world.connect();
  const told = assert.rejects(world.ff.channel("room:9").publish("n", 1), { code: "outcome_unknown" });
  for (let tries = 0; tries < 6; tries++) {
    socket.refuse("publish", { code: "outcome_unknown", retryable: true });
    await world.clock.pass(20_000);
    socket.say({});
  }
  await told;
  assert.equal(socket.count("publish"), 6);
});

test("a frame that the server would not read is refused here, and does not end the connection", async () => {
  const world = new World();
  const room = world.ff.channel("room:9");
  const refused = { code: "message_too_large", channel: "room:9" };
  const waited = assert.rejects(room.publish("n", "x".repeat(40_000)), refused);
  const socket = await world.connect({ limits: { message_bytes: 6_000 } });
  await waited;
  await assert.rejects(room.publish("n", "é".repeat(13_000)), refused);
  void room.publish("n", "é".repeat(10_000));
  assert.equal(socket.count("publish"), 1, "what may be too large is the server's to say");
});

test("what the server broke off over is not sent again", async () => {
  for (const { code, again } of [{ code: 1009, again: 0 }, { code: 1006, again: 1 }, { code: 4102, again: 1 }]) {
    const world = new World();
    await world.connect();
    const publish = world.ff.channel("room:9").publish("n", 1);
    const refused = again === 0 ? assert.rejects(publish, { code: "connection_lost", closeCode: 1009 }) : undefined;
    world.socket.drop(code, code > 4000 ? "slow_consumer" : "");
    assert.equal((await world.connect()).count("publish"), again, `${code}`);
    await refused;
    world.ff.close();
    await publish.catch(() => {});
  }
});

test("unanswered commands count against the bytes that may wait", async () => {
  const world = new World({ queueBytesMax: 1_000 });
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  const first = room.publish({ id: "a", data: "x".repeat(900) });
  await assert.rejects(room.publish("n", "x".repeat(100)), { code: "queue_full", retryable: true });
  socket.ok("publish", ack("a"));
  await first;
  void room.publish("n", "x".repeat(100));
  assert.equal(socket.count("publish"), 2);
});

test("before connect is called commands wait and nothing runs", async () => {
  const world = new World({ autoConnect: false });
  void world.ff.channel("room:9").publish("n", 1);
  void world.ff.channel("room:9").subscribe(() => {});
  await world.clock.pass(60_000);
  assert.deepEqual([world.ff.state, world.sockets.length, world.clock.timers], ["idle", 0, 0]);
  const connected = world.ff.connect();
  const socket = await world.connect();
  await connected;
  assert.deepEqual([socket.count("subscribe"), socket.count("publish")], [1, 1]);
  world.ff.close();
  await settled();
});
