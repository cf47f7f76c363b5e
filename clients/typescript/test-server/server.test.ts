/** Against a running platform: FANFARE_URL is an app's URL, FANFARE_KEY one of its keys with every capability. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Fanfare, FanfareError, Gap, SocketClass } from "../src/index.js";
import { cap, client, collector, isConnected, post, run, sign, url } from "./platform.js";
import { CuttableSocket } from "./sockets.js";

const failure = (ff: Fanfare): Promise<FanfareError> =>
  new Promise((resolve) => void ff.on("state", ({ state, reason }) => state === "failed" && reason && resolve(reason)));

before(async () => {
  await isConnected(client());
});

const options = { timeout: 30_000 };

test("an anonymous client publishes and hears on demo channels", options, async () => {
  const room = client().channel(`demo:${run}:a`);
  const { all, handler, has } = collector();
  const { position } = await room.subscribe(handler);
  assert.match(position, /^[\w-]+\.\d+$/);
  const ack = await room.publish({ name: "greet", data: { text: "hi", n: [1, 2.5, null] }, headers: { lang: "en" } });
  assert.deepEqual([ack.durability, ack.duplicate], ["memory", false]);
  await has(1);
  const [message] = all;
  assert.deepEqual(
    [message?.name, message?.data, message?.id, message?.position, message?.headers],
    ["greet", { text: "hi", n: [1, 2.5, null] }, ack.id, ack.position, { lang: "en" }],
  );
  assert.ok(Math.abs((message?.time ?? 0) - Date.now()) < 60_000);
});

test("a message published by REST with a key reaches a client with a signed token", options, async () => {
  const channel = `room:${run}`;
  const ff = client({ token: () => sign(cap(channel, "subscribe")) });
  const { all, handler, has } = collector();
  await ff.channel(channel).subscribe(handler);
  const { id } = await post(channel, { name: "greet", data: "hi" });
  await has(1);
  assert.deepEqual([all[0]?.id, all[0]?.data, all[0]?.publisher], [id, "hi", undefined]);
  await assert.rejects(ff.channel(channel).publish("greet", "no"), { code: "forbidden" });
  await assert.rejects(ff.channel(`other:${run}`).subscribe(() => {}), { code: "forbidden" });
});

test("bytes arrive as bytes, and the publisher is named", options, async () => {
  const channel = `room:${run}:bytes`;
  const ff = client({ token: sign(cap(channel, "subscribe", "publish")) });
  const { all, handler, has } = collector<Uint8Array>();
  await ff.channel(channel).subscribe(handler);
  await ff.channel(channel).publish({ data: Uint8Array.of(0, 128, 255) });
  await has(1);
  assert.deepEqual([all[0]?.data, all[0]?.publisher], [Uint8Array.of(0, 128, 255), "ann"]);
});

test("one id is one message", options, async () => {
  const room = client().channel(`demo:${run}:once`);
  const { all, handler, has } = collector();
  await room.subscribe(handler);
  const first = await room.publish({ id: "order-1", data: 1 });
  const second = await room.publish({ id: "order-1", data: 1 });
  assert.deepEqual([second.duplicate, second.position], [true, first.position]);
  await assert.rejects(room.publish({ id: "order-1", data: 2 }), { code: "id_reused" });
  await room.publish({ data: "end" });
  await has(2);
  assert.deepEqual(all.map((message) => message.data), [1, "end"]);
});

test("a client that was cut off misses nothing, doubles nothing and keeps the order", options, async () => {
  const channel = `demo:${run}:away`;
  const ff = client({ WebSocket: CuttableSocket as unknown as SocketClass });
  const gaps: Gap[] = [];
  const { all, handler, has } = collector<number>();
  await ff.channel(channel).subscribe(handler, { onGap: (gap) => gaps.push(gap) });
  await post(channel, { data: 0 });
  await has(1);
  for (let round = 0; round < 3; round++) {
    CuttableSocket.cutAll();
    for (let n = 1; n <= 20; n++) await post(channel, { data: round * 20 + n });
    await has(round * 20 + 21);
  }
  assert.deepEqual(all.map((message) => message.data), Array.from({ length: 61 }, (_, n) => n));
  assert.deepEqual(gaps, []);
});

test("publishes during a cut arrive once each, in their order", options, async () => {
  const channel = `demo:${run}:cut`;
  const { all, handler, has } = collector<number>();
  await client().channel(channel).subscribe(handler);
  const ff = client({ WebSocket: CuttableSocket as unknown as SocketClass });
  await isConnected(ff);
  const publishes = Array.from({ length: 60 }, async (_, n) => {
    if (n === 20 || n === 40) CuttableSocket.cutAll();
    return ff.channel(channel).publish({ data: n });
  });
  await Promise.all(publishes);
  await has(60);
  assert.deepEqual(all.map((message) => message.data), Array.from({ length: 60 }, (_, n) => n));
});

test("a subscription resumes from a kept position, with the last messages, and reads history", options, async () => {
  const channel = `past:${run}`;
  const positions: string[] = [];
  for (let n = 1; n <= 5; n++) positions.push((await post(channel, { data: n })).position);
  const ff = client({ token: () => sign(cap(channel, "subscribe", "history")) });

  const resumed = collector<number>();
  const { recovered } = await ff.channel(channel).subscribe(resumed.handler, { position: positions[2]! });
  assert.equal(recovered, true);
  await resumed.has(2);
  assert.deepEqual(resumed.all.map((message) => message.data), [4, 5]);
  await ff.channel(channel).unsubscribe();

  const rewound = collector<number>();
  await ff.channel(channel).subscribe(rewound.handler, { rewind: { messages: 3 } });
  await rewound.has(3);
  assert.deepEqual(rewound.all.map((message) => message.data), [3, 4, 5]);

  const page = await ff.channel(channel).history<number>({ limit: 3 });
  assert.deepEqual(page.messages.map((message) => message.data), [5, 4, 3]);
  assert.equal(page.messages[0]?.position, positions[4]);
  const rest = await ff.channel(channel).history<number>({ limit: 3, from: page.next! });
  assert.deepEqual(rest.messages.map((message) => message.data), [2, 1]);
});

test("a position of another channel is refused", options, async () => {
  const { position } = await post(`demo:${run}:one`, { data: 1 });
  await assert.rejects(client().channel(`demo:${run}:two`).subscribe(() => {}, { position }), {
    code: "invalid_position",
  });
});

test("tokens that are wrong fail with their reason", options, async () => {
  const good = cap("room:1", "subscribe");
  const table = [
    { token: sign(good, { lifetime: -3_600 }), code: "token_expired" },
    { token: sign(good, { secret: "ffs_somebody_elses" }), code: "token_invalid" },
    { token: sign({ ff: { cap: { "room:1": ["fly"] } } }), code: "token_invalid" },
    { token: "none", code: "token_invalid" },
  ];
  for (const { token, code } of table) assert.equal((await failure(client({ token }))).code, code);
});

test("a token that ends soon is renewed on the live connection", options, async () => {
  let tokens = 0;
  const channel = `room:${run}:renewed`;
  const ff = client({
    token: () => {
      tokens += 1;
      return sign(cap(channel, "subscribe"), { lifetime: tokens === 1 ? 5 : 600 });
    },
  });
  await isConnected(ff);
  const { connection } = ff;
  const end = Date.now() + 15_000;
  while (tokens < 2 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(tokens, 2);
  await ff.channel(channel).subscribe(() => {});
  assert.equal(ff.connection, connection);
});

test("commands that are wrong get their error, and the connection lives on", options, async () => {
  const ff = client();
  await assert.rejects(ff.channel("demo::x").publish("a", 1), { code: "invalid_channel" });
  await assert.rejects(ff.channel(`demo:${run}`).history({ limit: 0 }), { code: "invalid_request" });
  const extra = { data: 1, colour: "red" } as { data: unknown };
  await assert.rejects(ff.channel(`demo:${run}`).publish(extra), (error: FanfareError) => {
    assert.equal(error.code, "invalid_request");
    assert.match(error.errors[0]?.pointer ?? "", /colour/);
    return true;
  });
  await ff.channel(`demo:${run}`).publish("still", "here");
});

test("an app that does not exist is said to be missing", options, async () => {
  const ff = client({}, url.replace(/app_\w+$/, "app_00000000000000000000000001"));
  assert.equal((await failure(ff)).code, "not_found");
});
