/** Presence against a running platform. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fanfare, PresenceEvent, SocketClass } from "../src/index.js";
import { cap, client, run, sign } from "./platform.js";
import { CuttableSocket } from "./sockets.js";

const options = { timeout: 40_000 };

function member(user: string, channel: string, more: { cuttable?: boolean } = {}): Fanfare {
  const claims = { ...cap(channel, "subscribe", "publish", "presence", "presence.read"), sub: user };
  const WebSocket = more.cuttable ? { WebSocket: CuttableSocket as unknown as SocketClass } : {};
  return client({ token: () => sign(claims), ...WebSocket });
}

/** What a client hears of a channel, as `action user mood`, and a wait for so much of it. */
function heard(ff: Fanfare, channel: string): { all: string[]; until: (count: number) => Promise<void>; synced: Promise<void> } {
  const all: string[] = [];
  const waiting: { count: number; done: () => void }[] = [];
  let isSynced = () => {};
  const synced = new Promise<void>((resolve) => (isSynced = resolve));
  const handler = ({ action, member }: PresenceEvent<{ mood: string }>) => {
    all.push(`${action} ${member.user} ${member.data?.mood ?? ""}`.trim());
    for (const wait of waiting) if (all.length >= wait.count) wait.done();
  };
  ff.channel(channel).presence.subscribe(handler, { onSync: isSynced });
  const until = (count: number) =>
    all.length >= count ? Promise.resolve() : new Promise<void>((done) => waiting.push({ count, done }));
  return { all, until, synced };
}

test("who enters, changes and leaves is told to whoever listens, once each", options, async () => {
  const channel = `room:${run}:who`;
  const [ann, bob] = [member("ann", channel), member("bob", channel)];
  const { presence } = ann.channel(channel);
  await presence.enter({ mood: "up" });
  const { all, until, synced } = heard(bob, channel);
  await synced;
  assert.deepEqual(all, ["present ann up"]);
  const there = await bob.channel(channel).presence.get<{ mood: string }>();
  assert.deepEqual([there.count, there.members[0]?.user, there.members[0]?.connection], [1, "ann", ann.connection]);
  await presence.update({ mood: "down" });
  await until(2);
  await bob.channel(channel).presence.enter();
  await until(3);
  await presence.leave();
  await until(4);
  assert.deepEqual(all, ["present ann up", "update ann down", "enter bob", "leave ann down"]);
  assert.deepEqual(bob.channel(channel).presence.members.map(({ user }) => user), ["bob"]);
  await assert.rejects(presence.update({ mood: "?" }), { code: "not_present" });
});

test("a member that was cut off is there all the time, and hears of nothing twice", options, async () => {
  const channel = `room:${run}:cut`;
  const watcher = member("cat", channel);
  const { all, until, synced } = heard(watcher, channel);
  await synced;
  const ann = member("ann", channel, { cuttable: true });
  await ann.channel(channel).presence.enter({ mood: "up" });
  const mine = heard(ann, channel);
  await until(1);
  await mine.until(1);
  for (let round = 0; round < 3; round++) {
    const { connection } = ann;
    const back = new Promise<void>((resolve) => {
      const off = ann.on("state", ({ state }) => {
        if (state !== "connected") return;
        off();
        resolve();
      });
    });
    CuttableSocket.cutAll();
    await back;
    assert.equal(ann.connection, connection);
    await ann.channel(channel).presence.update({ mood: `${round}` });
    await until(2 + round);
  }
  assert.deepEqual(all, ["enter ann up", "update ann 0", "update ann 1", "update ann 2"]);
  await mine.until(4);
  assert.deepEqual(mine.all, ["present ann up", "update ann 0", "update ann 1", "update ann 2"]);
});

test("a client that closes leaves", options, async () => {
  const channel = `room:${run}:close`;
  const watcher = member("cat", channel);
  const { all, until, synced } = heard(watcher, channel);
  await synced;
  const ann = member("ann", channel);
  await ann.channel(channel).presence.enter();
  await until(1);
  await ann.channel(channel).presence.leave();
  ann.close();
  await until(2);
  assert.deepEqual(all, ["enter ann", "leave ann"]);
});

test("presence needs its rights, and messages go on without them", options, async () => {
  const channel = `room:${run}:rights`;
  const ff = client({ token: sign(cap(channel, "subscribe", "publish")) });
  const room = ff.channel(channel);
  await assert.rejects(room.presence.enter(), { code: "forbidden", channel });
  await assert.rejects(room.presence.get(), { code: "forbidden" });
  const got = new Promise<unknown>((resolve) => void room.subscribe(({ data }) => resolve(data)));
  const refused = new Promise<string>((resolve) => ff.on("error", ({ code }) => resolve(code)));
  room.presence.subscribe(() => {});
  assert.equal(await refused, "forbidden");
  await room.publish("n", 1);
  assert.equal(await got, 1);
});
