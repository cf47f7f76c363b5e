/** Networks that break WebSockets, by a proxy that does: the same client, the same promises. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, systemClock } from "../src/clock.js";
import type { FanfareError, Gap, Options, Transport } from "../src/index.js";
import { cap, client, collector, isConnected, post, run, sign, url } from "./platform.js";
import { type Broken, proxy } from "./proxy.js";

const options = { timeout: 60_000 };
const networks: { transport: Transport; broken: Broken }[] = [
  { transport: "stream", broken: { upgrades: false, buffers: false } },
  { transport: "poll", broken: { upgrades: false, buffers: true } },
];
/** What waits for minutes waits for moments, and so does an attempt that nobody answers. */
const hurried: Clock = {
  ...systemClock,
  now: () => systemClock.now(),
  random: () => systemClock.random(),
  after: (wait, then) => systemClock.after(wait >= 60_000 ? 200 : wait === 10_000 ? 1_500 : wait, then),
};

for (const { transport, broken } of networks) {
  test(`over ${transport}: a client publishes, hears, reads and is present as over a socket`, options, async () => {
    const network = await proxy(url, broken);
    const channel = `room:${run}:${transport}`;
    const rights = cap(channel, "subscribe", "publish", "presence", "presence.read", "history");
    const ff = client({ token: () => sign(rights), clock: hurried }, network.url);
    await isConnected(ff);
    assert.deepEqual([ff.transport, ff.user], [transport, "ann"]);
    assert.ok(network.asked.includes("socket"), "a WebSocket was tried first");
    const room = ff.channel(channel);
    const { all, handler, has } = collector<unknown>();
    const { position } = await room.subscribe(handler);
    assert.match(position, /^[\w-]+\.\d+$/);
    const ack = await room.publish({ name: "greet", data: Uint8Array.of(0, 255), id: `order-${transport}` });
    const again = await room.publish({ name: "greet", data: Uint8Array.of(0, 255), id: `order-${transport}` });
    assert.deepEqual([ack.duplicate, again.duplicate], [false, true]);
    await post(channel, { data: "from a backend" });
    await has(2);
    assert.deepEqual(all.map(({ data }) => data), [Uint8Array.of(0, 255), "from a backend"]);
    const page = await room.history({ limit: 2 });
    assert.equal(page.messages[0]?.data, "from a backend");
    await assert.rejects(ff.channel(`other:${run}`).publish("no", 1), { code: "forbidden" });
    await assert.rejects(room.publish({ data: 2, id: `order-${transport}` }), { code: "id_reused" });

    const entered: unknown[] = [];
    await room.presence.subscribe(({ action, member }) => entered.push([action, member.data]));
    await room.presence.enter("here");
    const end = Date.now() + 10_000;
    while (entered.length === 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(entered.at(-1), ["enter", "here"]);
    assert.ok((await ff.ping()) >= 0);
    await room.unsubscribe();
    await post(channel, { data: "unheard" });
    await room.publish("still", "there");
    assert.equal(all.length, 2);
  });

  test(`over ${transport}: cuts lose nothing, double nothing and keep the order`, options, async () => {
    const network = await proxy(url, broken);
    const channel = `demo:${run}:${transport}:cut`;
    const ff = client({ clock: hurried }, network.url);
    await isConnected(ff);
    const gaps: Gap[] = [];
    const { all, handler, has } = collector<number>();
    await ff.channel(channel).subscribe(handler, { onGap: (gap) => gaps.push(gap) });
    const own = Array.from({ length: 60 }, async (_, n) => {
      if (n % 20 === 10) network.cut();
      await new Promise((resolve) => setTimeout(resolve, n * 10));
      return ff.channel(channel).publish({ data: n });
    });
    await Promise.all(own);
    for (let n = 60; n < 90; n++) {
      if (n % 10 === 0) network.cut();
      await post(channel, { data: n });
    }
    await has(90);
    assert.deepEqual([...all.map(({ data }) => data)].sort((a, b) => a - b), Array.from({ length: 90 }, (_, n) => n));
    assert.deepEqual(all.slice(60).map(({ data }) => data), Array.from({ length: 30 }, (_, n) => n + 60));
    assert.deepEqual(gaps, []);
  });
}

test("where WebSockets work again, the client goes back to them and misses nothing", options, async () => {
  const network = await proxy(url, { upgrades: false, buffers: false });
  const channel = `demo:${run}:back`;
  const ff = client({ clock: hurried }, network.url);
  await isConnected(ff);
  const over = (): string | undefined => ff.transport;
  assert.equal(over(), "stream");
  const { connection } = ff;
  const { all, handler, has } = collector<number>();
  await ff.channel(channel).subscribe(handler);
  network.upgrades = true;
  for (let n = 0; over() !== "websocket"; n++) {
    await post(channel, { data: n });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { position } = await post(channel, { data: -1 });
  while (all.at(-1)?.position !== position) await has(all.length + 1);
  assert.deepEqual(all.slice(0, -1).map(({ data }) => data), Array.from({ length: all.length - 1 }, (_, n) => n));
  assert.equal(ff.connection, connection, "it is the same connection");
});

test("one way alone is taken when it is asked for, and refusals say why", options, async () => {
  for (const transport of ["stream", "poll"] as const) {
    const only: Options = { transports: [transport] };
    const ff = client(only);
    await isConnected(ff);
    assert.equal(ff.transport, transport);
    const failed = (address: string, more: Options = {}): Promise<FanfareError> =>
      new Promise((resolve) => {
        const other = client({ ...only, ...more }, address);
        other.on("state", ({ state, reason }) => state === "failed" && reason && resolve(reason));
      });
    assert.equal((await failed(url.replace(/app_\w+$/, "app_00000000000000000000000001"))).code, "not_found");
    assert.equal((await failed(url, { token: "none" })).code, "token_invalid");
  }
});
