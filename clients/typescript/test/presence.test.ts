import assert from "node:assert/strict";
import { test } from "node:test";
import type { PresenceEvent } from "../src/index.js";
import { FakeSocket, settled, World } from "./fake.js";

const member = (connection: string, data?: unknown) => ({ connection, since: 1, ...(data !== undefined && { data }) });
const push = (socket: FakeSocket, presence: object) => socket.say({ presence: { channel: "room:9", ...presence } });

/** A client that listens to who is on a room, and what it hears as `action connection`. */
async function listening(): Promise<{ world: World; socket: FakeSocket; heard: string[]; syncs: () => number }> {
  const world = new World();
  const heard: string[] = [];
  let syncs = 0;
  const handler = ({ action, member }: PresenceEvent) => heard.push(`${action} ${member.connection ?? member.user}`);
  world.ff.channel("room:9").presence.subscribe(handler, { onSync: () => (syncs += 1) });
  const socket = await world.connect();
  assert.deepEqual(socket.last("subscribe")["subscribe"], { channel: "room:9", presence: true });
  socket.subscribed();
  return { world, socket, heard, syncs: () => syncs };
}

test("who is there is told first, and then each change once", async () => {
  const { world, socket, heard, syncs } = await listening();
  const { presence } = world.ff.channel("room:9");
  push(socket, { version: 7, count: 2, members: [member("a", 1), member("b")] });
  assert.deepEqual(heard.splice(0), ["present a", "present b"]);
  push(socket, { from: 7, version: 9, count: 2, entered: [member("c")], updated: [member("a", 2)], left: [member("b")] });
  assert.deepEqual(heard.splice(0), ["enter c", "update a", "leave b"]);
  push(socket, { from: 7, version: 9, count: 2, entered: [member("c")], updated: [], left: [] });
  push(socket, { from: 8, version: 10, count: 3, entered: [member("c"), member("d")], updated: [], left: [member("x")] });
  assert.deepEqual(heard.splice(0), ["enter d"], "what was known already is not told again");
  assert.deepEqual(presence.members.map(({ connection, data }) => [connection, data]), [["a", 2], ["c", undefined], ["d", undefined]]);
  assert.equal(presence.count, 3);
  assert.equal(syncs(), 4);
});

test("a member without a connection is known by its user", async () => {
  const { socket, heard } = await listening();
  push(socket, { version: 1, count: 1, members: [{ user: "ann", since: 1 }] });
  push(socket, { from: 1, version: 2, count: 0, left: [{ user: "ann" }] });
  assert.deepEqual(heard, ["present ann", "leave ann"]);
});

test("a change that does not follow what is known makes the client ask again, and tells the difference once", async () => {
  const { socket, heard } = await listening();
  push(socket, { version: 7, count: 2, members: [member("a"), member("b")] });
  heard.splice(0);
  push(socket, { from: 8, version: 9, count: 3, entered: [member("d")] });
  push(socket, { from: 9, version: 10, count: 3, entered: [] });
  assert.equal(socket.count("presence"), 1, "asked once");
  assert.deepEqual(socket.last("presence")["presence"], { channel: "room:9", action: "get", limit: 1_000 });
  socket.ok("presence", { channel: "room:9", version: 10, count: 3, members: [member("b"), member("c"), member("d")] });
  assert.deepEqual(heard.splice(0), ["leave a", "enter c", "enter d"]);
  push(socket, { from: 10, version: 11, count: 2, left: [member("c")] });
  assert.deepEqual(heard, ["leave c"]);
});

test("a long list comes in pages, and what changes meanwhile is not lost", async () => {
  const { socket, heard } = await listening();
  push(socket, { version: 7, count: 4, members: [member("a"), member("b")], next: "b" });
  assert.deepEqual(heard, [], "nothing is told before the list is whole");
  assert.deepEqual(socket.last("presence")["presence"], { channel: "room:9", action: "get", after: "b", limit: 1_000 });
  push(socket, { from: 7, version: 8, count: 3, left: [member("c")] });
  socket.ok("presence", { channel: "room:9", version: 7, count: 4, members: [member("c"), member("d")] });
  assert.equal(socket.count("presence"), 2, "a page from before the change is asked for again");
  socket.ok("presence", { channel: "room:9", version: 8, count: 3, members: [member("d")] });
  assert.deepEqual(heard, ["present a", "present b", "present d"]);
});

test("a crowded channel is counted, and listed again when it empties", async () => {
  const { world, socket, heard, syncs } = await listening();
  const { presence } = world.ff.channel("room:9");
  push(socket, { version: 7, count: 1, members: [member("a")] });
  push(socket, { version: 90, count: 20_001 });
  push(socket, { from: 90, version: 91, count: 20_002 });
  assert.deepEqual([presence.crowded, presence.count, presence.members], [true, 20_002, []]);
  push(socket, { version: 99, count: 2, members: [member("a"), member("z")] });
  assert.deepEqual([presence.crowded, presence.count], [false, 2]);
  assert.deepEqual(heard, ["present a", "enter z"]);
  assert.equal(syncs(), 4);
});

test("after a lost connection only real changes are told, and the members stay known meanwhile", async () => {
  const { world, socket, heard } = await listening();
  push(socket, { version: 7, count: 2, members: [member("a", 1), member("b", 1)] });
  heard.splice(0);
  socket.drop();
  assert.equal(world.ff.channel("room:9").presence.members.length, 2);
  const next = await world.connect();
  assert.equal(next.last("subscribe")["subscribe"].presence, true);
  next.subscribed({ recovered: true });
  push(next, { version: 3, count: 2, members: [member("b", 1), member("c")] });
  assert.deepEqual(heard, ["leave a", "enter c"]);
});

test("who begins to listen later is told who is there", async () => {
  const { world, socket } = await listening();
  push(socket, { version: 7, count: 1, members: [member("a")] });
  const late: string[] = [];
  const { presence } = world.ff.channel("room:9");
  const handler = ({ action }: PresenceEvent) => late.push(action);
  presence.subscribe(handler);
  assert.deepEqual(late, ["present"]);
  assert.equal(socket.count("subscribe"), 1);
  presence.unsubscribe(handler);
  push(socket, { from: 7, version: 8, count: 0, left: [member("a")] });
  assert.deepEqual(late, ["present"]);
  presence.unsubscribe();
  assert.deepEqual(socket.last("unsubscribe")["unsubscribe"], { channel: "room:9" }, "nobody wants the channel");
});

test("a member enters again after a lost connection, with what it said last, until it leaves", async () => {
  const world = new World();
  const { presence } = world.ff.channel("room:9");
  const entered = presence.enter({ mood: "down" });
  const first = await world.connect();
  assert.deepEqual(first.last("presence")["presence"], { channel: "room:9", action: "enter", data: { mood: "down" } });
  first.ok("presence");
  await entered;
  const updated = presence.update({ mood: "up" });
  first.drop();
  const second = await world.connect();
  assert.deepEqual(second.frames, [2], "in one frame with connect");
  assert.deepEqual(second.last("presence")["presence"], { channel: "room:9", action: "enter", data: { mood: "up" } });
  second.ok("presence");
  await updated;
  second.drop();
  const left = presence.leave();
  const third = await world.connect();
  assert.deepEqual(third.last("presence")["presence"], { channel: "room:9", action: "leave" });
  third.refuse("presence", { code: "not_present" });
  await left;
  third.drop();
  assert.equal((await world.connect()).count("presence"), 0);
  await assert.rejects(presence.update(1), { code: "not_present" });
  await presence.leave();
});

test("a refused member is told why; one that may be let in later tries again", async () => {
  const world = new World();
  const socket = await world.connect();
  const { presence } = world.ff.channel("room:9");
  const refused = assert.rejects(presence.enter(), { code: "forbidden", channel: "room:9" });
  socket.refuse("presence", { code: "forbidden" });
  await refused;
  const entered = presence.enter();
  socket.refuse("presence", { code: "rate_limited", retryable: true });
  await world.clock.pass(100);
  assert.equal(socket.count("presence"), 3);
  socket.ok("presence");
  await entered;
  await assert.rejects(presence.enter(1n), { code: "invalid_request" });
});

test("a membership that the server ends is reported, and not taken up again", async () => {
  const world = new World();
  const socket = await world.connect();
  void world.ff.channel("room:9").presence.enter();
  socket.ok("presence");
  const error = { code: "forbidden", detail: "no", retryable: false };
  socket.say({ presence_ended: { channel: "room:9", what: "membership", error } });
  assert.deepEqual(world.errors.map(({ code, channel }) => [code, channel]), [["forbidden", "room:9"]]);
  socket.drop();
  assert.equal((await world.connect()).count("presence"), 0);
});

test("a channel goes on without presence when the right to it is missing or taken", async () => {
  const world = new World();
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  const seen: unknown[] = [];
  const start = room.subscribe((message) => seen.push(message.data));
  socket.subscribed({ seq: 5 });
  await start;
  room.presence.subscribe(() => {});
  assert.deepEqual(
    socket.sent.slice(2).map((sent) => sent["unsubscribe"] ?? sent["subscribe"]),
    [{ channel: "room:9" }, { channel: "room:9", position: "L1.5", presence: true }],
  );
  socket.refuse("subscribe", { code: "forbidden" });
  await world.clock.pass(0);
  assert.deepEqual(socket.last("subscribe")["subscribe"], { channel: "room:9", position: "L1.5" });
  socket.subscribed({ seq: 5, recovered: true });
  socket.message(6);
  assert.deepEqual([seen, world.errors.map(({ code }) => code)], [[6], ["forbidden"]]);
});

test("updates that the server ends leave the messages, and are not asked for again", async () => {
  const { world, socket } = await listening();
  const seen: unknown[] = [];
  void world.ff.channel("room:9").subscribe((message) => seen.push(message.data));
  push(socket, { version: 7, count: 1, members: [member("a")] });
  socket.say({ presence_ended: { channel: "room:9", what: "updates", error: { code: "forbidden", detail: "no" } } });
  socket.message(1);
  assert.deepEqual([seen, world.ff.channel("room:9").presence.members], [[1], []]);
  socket.drop();
  const next = await world.connect();
  assert.deepEqual(next.last("subscribe")["subscribe"], { channel: "room:9", position: "L1.1" });
});

test("a member stays one when its subscription ends", async () => {
  const world = new World();
  const socket = await world.connect();
  const room = world.ff.channel("room:9");
  void room.presence.enter(1);
  socket.ok("presence");
  void room.subscribe(() => {});
  socket.subscribed();
  void room.unsubscribe();
  assert.equal(socket.count("presence"), 2, "unsubscribing takes the membership along");
});

test("everybody on a channel can be asked for, page by page", async () => {
  const world = new World();
  const socket = await world.connect();
  const got = world.ff.channel("room:9").presence.get();
  socket.ok("presence", { channel: "room:9", version: 7, count: 2, members: [member("a")], next: "n" });
  await settled();
  assert.equal(socket.last("presence")["presence"].after, "n");
  socket.ok("presence", { channel: "room:9", version: 7, count: 2, members: [member("b", 1)] });
  const { members, count, crowded } = await got;
  assert.deepEqual([members.map((one) => one.connection), count, crowded], [["a", "b"], 2, false]);
});

test("closing ends memberships and listeners, and leaves nothing running", async (context) => {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", listener);
  context.after(() => process.off("unhandledRejection", listener));
  const { world, socket, heard } = await listening();
  void world.ff.channel("room:9").presence.enter();
  push(socket, { from: 3, version: 4, count: 1 });
  world.ff.close();
  await settled();
  push(socket, { version: 7, count: 1, members: [member("a")] });
  assert.deepEqual([heard, unhandled, world.clock.timers], [[], [], 0]);
});

test("who joins and leaves, and how many there are, is told where a channel's settings have it told", async () => {
  const world = new World();
  const heard: unknown[] = [];
  world.ff.on("joinLeave", ({ joined, left, complete, ...rest }) =>
    heard.push([joined.map(({ user }) => user), left.map(({ connection }) => connection), complete, rest]),
  );
  world.ff.on("occupancy", (occupancy) => heard.push(occupancy));
  void world.ff.channel("room:9").subscribe(() => {});
  const socket = await world.connect();
  socket.subscribed();
  const channel = "room:9";
  socket.say({ join_leave: { channel, from: 7, version: 9, count: 2, joined: [{ user: "ann", since: 1 }], left: [{ connection: "b" }] } });
  socket.say({ occupancy: { channel, subscribers: 3, members: 2, version: 9 } });
  socket.say({ join_leave: { channel, version: 20_008, count: 20_001 } });
  assert.deepEqual(heard, [
    [["ann"], ["b"], true, { channel, version: 9, count: 2 }],
    { channel, subscribers: 3, members: 2, version: 9 },
    [[], [], false, { channel, version: 20_008, count: 20_001 }],
  ]);
});
