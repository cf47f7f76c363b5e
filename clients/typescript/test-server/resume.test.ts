/** Coming back, tokens of channels and the past, against a running platform. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SocketClass } from "../src/index.js";
import { cap, client, collector, isConnected, post, run, sign } from "./platform.js";
import { CuttableSocket } from "./sockets.js";

const options = { timeout: 30_000 };

/** A socket that remembers what its client sends. */
class RecordingSocket extends CuttableSocket {
  static readonly frames: string[] = [];

  override send(frame: any): void {
    RecordingSocket.frames.push(String(frame));
    super.send(frame);
  }
}

test("a client that was cut off goes on as the connection it was, in one frame and without asking for a token", options, async () => {
  const channels = [1, 2, 3].map((n) => `room:${run}:resume${n}`);
  let tokens = 0;
  const token = () => {
    tokens += 1;
    return sign({ sub: "ann", ff: { cap: { [`room:${run}:*`]: ["subscribe", "publish"] } } });
  };
  const ff = client({ token, WebSocket: RecordingSocket as unknown as SocketClass });
  const { all, handler, has } = collector<number>();
  for (const channel of channels) await ff.channel(channel).subscribe(handler);
  // The client has learnt the server's time, and so how long its token serves.
  await ff.ping();
  const { connection } = ff;
  RecordingSocket.frames.length = 0;
  CuttableSocket.cutAll();
  for (const [n, channel] of channels.entries()) await post(channel, { data: n });
  await has(3);
  assert.equal(ff.connection, connection);
  assert.equal(tokens, 1);
  const [frame = ""] = RecordingSocket.frames;
  const commands = frame.split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(commands.map((command) => Object.keys(command)[1]), ["connect", "subscribe", "subscribe", "subscribe"]);
  assert.deepEqual(Object.keys(commands[0].connect), ["resume"]);
  assert.deepEqual(all.map((message) => message.data).sort(), [0, 1, 2]);
});

test("an anonymous client goes on as the connection it was too", options, async () => {
  const ff = client({ WebSocket: CuttableSocket as unknown as SocketClass });
  await isConnected(ff);
  const { connection } = ff;
  CuttableSocket.cutAll();
  await new Promise<void>((resolve) => ff.on("state", ({ state }) => state === "connected" && resolve()));
  assert.equal(ff.connection, connection);
});

test("a refreshed token gives rights on the live connection", options, async () => {
  const channel = `room:${run}:refreshed`;
  let operations = ["subscribe"];
  const ff = client({ token: () => sign(cap(channel, ...operations)) });
  await ff.connect();
  await assert.rejects(ff.channel(channel).publish("n", 1), { code: "forbidden" });
  operations = ["publish"];
  await ff.refresh();
  await ff.channel(channel).publish("n", 1);
  await ff.refresh(sign(cap(channel, "subscribe")));
  await assert.rejects(ff.channel(channel).publish("n", 1), { code: "forbidden" });
});

test("a channel token gives its channel alone, and is renewed in good time", options, async () => {
  const channel = `room:${run}:own`;
  let tokens = 0;
  const token = () => {
    tokens += 1;
    return sign(cap(channel, "subscribe"), { lifetime: tokens === 1 ? 4 : 600 });
  };
  const ff = client({ token: sign({ sub: "ann", ff: { cap: {} } }) });
  const { all, handler, has } = collector<number>();
  await assert.rejects(ff.channel(channel).subscribe(handler), { code: "forbidden" });
  await ff.channel(channel).subscribe(handler, { token });
  await post(channel, { data: 1 });
  await has(1);
  const end = Date.now() + 15_000;
  while (tokens < 2 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  await post(channel, { data: 2 });
  await has(2);
  assert.deepEqual([all.map((message) => message.data), tokens], [[1, 2], 2]);
});

test("the past is read both ways, message by message and page by page", options, async () => {
  const channel = `past:${run}:all`;
  for (let n = 1; n <= 7; n++) await post(channel, { data: n });
  const room = client({ token: sign(cap(channel, "history")) }).channel(channel);
  const read = async (direction: "forward" | "backward") => {
    const all: number[] = [];
    for await (const message of room.historyMessages<number>({ direction, limit: 3 })) all.push(message.data);
    return all;
  };
  assert.deepEqual(await read("forward"), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(await read("backward"), [7, 6, 5, 4, 3, 2, 1]);
  const sizes: number[] = [];
  for await (const page of room.historyPages({ limit: 3 })) sizes.push(page.messages.length);
  assert.deepEqual(sizes, [3, 3, 1]);
});

test("what waited for a connection is accepted to the last, though it is more than may be sent at once", options, async () => {
  const channel = `demo:${run}:backlog`;
  const { all, handler, has } = collector<number>();
  await client().channel(channel).subscribe(handler);
  const ff = client({ autoConnect: false });
  const publishes = Array.from({ length: 200 }, (_, n) => ff.channel(channel).publish("n", n));
  await ff.connect();
  await Promise.all(publishes);
  await has(200);
  assert.deepEqual(all.map((message) => message.data), Array.from({ length: 200 }, (_, n) => n));
});
