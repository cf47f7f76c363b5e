/** The hooks in a page of happy-dom: what they show, what they share, and that nothing is left behind. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Window } from "happy-dom";
import { act, createElement, type ReactNode, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import type { Fanfare } from "../src/index.js";
import {
  FanfareProvider,
  useChannel,
  useConnectionState,
  useFanfare,
  useMessages,
  usePresence,
  useSubscription,
} from "../src/react.js";
import { FakeClock, FakeSocket, settled, World } from "./fake.js";

const window = new Window();
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
after(() => window.close());

/** Everything that React and the hooks have put off is done. */
const soon = () => act(() => new Promise<void>((resolve) => setTimeout(resolve, 2)));

class Screen {
  readonly element = window.document.createElement("div");
  readonly #root: Root = createRoot(this.element as unknown as Element);

  async show(node: ReactNode, strict = true): Promise<void> {
    await act(async () => this.#root.render(strict ? createElement(StrictMode, null, node) : node));
    await soon();
  }

  get text(): string {
    return this.element.textContent;
  }

  async leave(): Promise<void> {
    await act(async () => this.#root.unmount());
    await soon();
  }
}

const within = (client: Fanfare, ...children: ReactNode[]) => createElement(FanfareProvider, { client }, ...children);

function Room({ name = "room:9", max = 100 }: { name?: string; max?: number }): ReactNode {
  const { messages, subscribed, error, gap } = useMessages<number>(name, { max });
  return `[${subscribed ? "live" : (error?.code ?? "soon")} ${messages.map(({ data }) => data).join(",")}${gap?.reason ?? ""}]`;
}

test("messages, gaps and refusals are shown", async () => {
  const world = new World();
  const socket = await world.connect();
  const screen = new Screen();
  await screen.show(within(world.ff, createElement(Room, { max: 2 })));
  assert.equal(screen.text, "[soon ]");
  await act(async () => socket.subscribed());
  await act(async () => [1, 2, 3].forEach((seq) => socket.message(seq)));
  assert.equal(screen.text, "[live 2,3]");
  const recovery = { channel: "room:9", recovered: false, reason: "truncated", lineage: "L1", seq: 9 };
  await act(async () => socket.say({ recovery }));
  assert.equal(screen.text, "[live 2,3truncated]");
  await screen.leave();

  await screen.element.remove();
  const refused = new Screen();
  await refused.show(within(world.ff, createElement(Room, { name: "room:10" })));
  await act(async () => socket.refuse("subscribe", { code: "forbidden" }));
  assert.equal(refused.text, "[forbidden ]");
  await refused.leave();
  world.ff.close();
});

test("components share one subscription, StrictMode or not, and the last one to go ends it", async () => {
  const world = new World();
  const socket = await world.connect();
  const screen = new Screen();
  const room = createElement(Room);
  for (const strict of [true, false]) {
    const [subscribes, unsubscribes] = [socket.count("subscribe"), socket.count("unsubscribe")];
    await screen.show(within(world.ff, room, room, room), strict);
    assert.equal(socket.count("subscribe"), subscribes + 1);
    await act(async () => socket.subscribed());
    await act(async () => socket.message(1, { id: `${strict}` }));
    assert.equal(screen.text, "[live 1][live 1][live 1]");
    await screen.show(within(world.ff, room), strict);
    assert.equal(socket.count("unsubscribe"), unsubscribes);
    await screen.show(within(world.ff), strict);
    assert.equal(socket.count("unsubscribe"), unsubscribes + 1);
    await act(async () => socket.ok("unsubscribe"));
  }
  await screen.leave();
  assert.deepEqual([socket.count("subscribe"), socket.count("unsubscribe")], [2, 2]);
  world.ff.close();
});

test("a component put up again in the same go misses nothing", async () => {
  const world = new World();
  const socket = await world.connect();
  const screen = new Screen();
  await screen.show(within(world.ff, createElement(Room, { key: 1 })));
  await act(async () => socket.subscribed());
  await act(async () => socket.message(1));
  for (let key = 2; key < 20; key++) await screen.show(within(world.ff, createElement(Room, { key })));
  assert.deepEqual([socket.count("subscribe"), socket.count("unsubscribe")], [1, 0]);
  assert.equal(screen.text, "[live 1]");
  await screen.show(within(world.ff, createElement(Room, { key: 20, name: "room:10" })));
  assert.deepEqual([socket.count("subscribe"), socket.count("unsubscribe")], [2, 1]);
  await screen.leave();
  world.ff.close();
});

test("a handler need not be the same function each time, and is waited for", async () => {
  const world = new World();
  const socket = await world.connect();
  const heard: string[] = [];
  let go: () => void = () => {};
  function Listener({ word }: { word: string }): ReactNode {
    useSubscription("room:9", (message) => {
      heard.push(`${word} ${message.data}`);
      return message.data === 2 ? new Promise<void>((resolve) => (go = resolve)) : undefined;
    });
    return null;
  }
  const screen = new Screen();
  await screen.show(within(world.ff, createElement(Listener, { word: "a" })));
  await act(async () => socket.subscribed());
  await act(async () => socket.message(1));
  await screen.show(within(world.ff, createElement(Listener, { word: "b" })));
  await act(async () => [2, 3].forEach((seq) => socket.message(seq)));
  assert.deepEqual(heard, ["a 1", "b 2"]);
  assert.equal(world.ff.channel("room:9").position, "L1.1");
  await act(async () => go());
  assert.deepEqual(heard, ["a 1", "b 2", "b 3"]);
  assert.equal(socket.count("subscribe"), 1);
  await screen.leave();
  world.ff.close();
});

function Who({ data }: { data: unknown }): ReactNode {
  const { members, count, synced, error } = usePresence("room:9", { enter: true, data });
  return `[${synced ? count : (error?.code ?? "soon")} ${members.map((member) => member.connection).join(",")}]`;
}

test("presence is shown, entered once, changed when it says something else, and left", async () => {
  const world = new World();
  const socket = await world.connect();
  const said = () => socket.sent.flatMap((sent) => sent["presence"] ?? []).map(({ action, data }) => [action, data?.mood]);
  const screen = new Screen();
  await screen.show(within(world.ff, createElement(Who, { data: { mood: "up" } }), createElement(Who, { data: { mood: "up" } })));
  assert.equal(socket.last("subscribe")["subscribe"].presence, true);
  assert.equal(socket.count("subscribe"), 1);
  assert.ok(said().every(([action, mood]) => action === "enter" && mood === "up"));
  await act(async () => {
    socket.subscribed();
    socket.say({ presence: { channel: "room:9", version: 1, count: 1, members: [{ connection: "a" }] } });
  });
  assert.equal(screen.text, "[1 a][1 a]");
  const before = said().length;
  await screen.show(within(world.ff, createElement(Who, { data: { mood: "up" } }), createElement(Who, { data: { mood: "down" } })));
  assert.deepEqual(said().slice(before), [["enter", "down"]]);
  await screen.show(within(world.ff, createElement(Who, { data: { mood: "up" } })));
  assert.deepEqual(said().slice(before + 1), [["enter", "up"]], "the other one's word counts again");
  await screen.show(within(world.ff));
  assert.deepEqual(said().slice(before + 2), [["leave", undefined]]);
  assert.equal(socket.count("unsubscribe"), 1);
  await screen.leave();
  world.ff.close();
});

test("a client that was closed and opened again has its subscriptions back", async () => {
  const world = new World();
  const screen = new Screen();
  await screen.show(within(world.ff, createElement(Room), createElement(Who, { data: 1 })));
  await act(async () => void (await world.connect()));
  assert.deepEqual([world.socket.count("subscribe"), world.socket.count("presence")], [1, 1]);
  await act(async () => world.ff.close());
  await act(async () => {
    void world.ff.connect();
    await world.connect();
  });
  assert.deepEqual(world.socket.last("subscribe")["subscribe"], { channel: "room:9", presence: true });
  assert.equal(world.socket.last("presence")["presence"].action, "enter");
  await screen.leave();
  world.ff.close();
});

test("a provider with a client of its own connects once, shows its state, and closes it", async () => {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  class Socket extends FakeSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const asked: string[] = [];
  let inside: Fanfare | undefined;
  function Inside(): ReactNode {
    inside = useFanfare();
    useChannel("room:9");
    return useConnectionState();
  }
  function App({ name }: { name: string }): ReactNode {
    const [url] = useState("https://live.example/v1/apps/app_1");
    const token = () => {
      asked.push(name);
      return name;
    };
    return createElement(FanfareProvider, { url, options: { WebSocket: Socket, clock, token } }, createElement(Inside), createElement(Room));
  }
  const screen = new Screen();
  await screen.show(createElement(App, { name: "ann" }));
  await act(() => clock.pass(0));
  assert.equal(sockets.length, 1);
  assert.match(screen.text, /^connecting/);
  await act(async () => sockets[0]?.hello());
  assert.match(screen.text, /^connected/);
  assert.equal(sockets[0]?.count("subscribe"), 1);
  await screen.show(createElement(App, { name: "bob" }));
  await act(async () => sockets[0]?.drop());
  await act(() => clock.pass(200));
  assert.deepEqual([sockets.length, asked.at(-1)], [2, "bob"], "the provider of the last render is asked");
  await screen.leave();
  assert.deepEqual([inside?.state, clock.timers, sockets.at(-1)?.closed], ["closed", 0, true]);
});

test("hundreds of mounts leave no listener, no handler and no timer behind", async () => {
  const world = new World();
  const socket = await world.connect();
  let listeners = 0;
  const { on } = world.ff;
  world.ff.on = function counted(this: Fanfare, ...all: Parameters<typeof on>) {
    listeners += 1;
    const off = on.apply(this, all);
    return () => {
      listeners -= 1;
      off();
    };
  } as typeof on;
  function State(): ReactNode {
    return useConnectionState();
  }
  const timers = world.clock.timers;
  for (let round = 0; round < 300; round++) {
    const screen = new Screen();
    await act(async () =>
      screen["show"](within(world.ff, createElement(Room), createElement(State), createElement(Who, { data: round }))),
    );
    if (round % 100 === 0) await act(async () => socket.subscribed());
    await screen.leave();
  }
  socket.ok("presence");
  await settled();
  assert.equal(listeners, 0);
  assert.equal(world.clock.timers, timers);
  assert.equal(world.ff.channel("room:9").position, undefined, "the subscription is gone");
  assert.deepEqual(world.ff.channel("room:9").presence.members, []);
  assert.equal(socket.sent.filter((sent) => "subscribe" in sent).length, socket.sent.filter((sent) => "unsubscribe" in sent).length);
  socket.drop();
  const next = await world.connect();
  assert.deepEqual(next.sent.map((sent) => Object.keys(sent)[1]), ["connect"]);
  world.ff.close();
});

test("hooks outside a provider, and a provider without a client, say what is missing", () => {
  assert.throws(() => FanfareProvider({}), /`client` or `url`/);
});
