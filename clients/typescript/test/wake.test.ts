/** Sleep, hidden pages and changing networks: what the platform tells, played to a client on a clock of ours. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { World } from "./fake.js";

class Page extends EventTarget {
  visibilityState = "visible";

  tell(name: string): void {
    this.dispatchEvent(new Event(name));
  }
}

/** A page for the time of the test; `listeners` counts what hangs on it. */
function page(context: TestContext): { page: Page; tell: (name: string) => void; listeners: () => number } {
  const document = new Page();
  const window = new EventTarget();
  let count = 0;
  for (const target of [document, window]) {
    const { addEventListener, removeEventListener } = target;
    target.addEventListener = (...all: Parameters<typeof addEventListener>) => {
      count += 1;
      addEventListener.apply(target, all);
    };
    target.removeEventListener = (...all: Parameters<typeof removeEventListener>) => {
      count -= 1;
      removeEventListener.apply(target, all);
    };
  }
  Object.assign(globalThis, {
    document,
    addEventListener: window.addEventListener,
    removeEventListener: window.removeEventListener,
  });
  context.after(() => {
    for (const name of ["document", "addEventListener", "removeEventListener"]) Reflect.deleteProperty(globalThis, name);
  });
  return { page: document, tell: (name) => window.dispatchEvent(new Event(name)), listeners: () => count };
}

test("a page that wakes asks at once whether its connection lives, and leaves one that does not", async (context) => {
  const { page: document } = page(context);
  const world = new World();
  const socket = await world.connect();
  // Asleep for an hour: the timers stood still with the machine.
  world.clock.time += 3_600_000;
  document.tell("visibilitychange");
  assert.equal(socket.count("ping"), 1);
  document.tell("visibilitychange");
  assert.equal(socket.count("ping"), 1, "one question is enough");
  await world.clock.pass(4_000);
  assert.equal(world.ff.state, "reconnecting");
  await world.connect();

  document.visibilityState = "hidden";
  document.tell("visibilitychange");
  assert.equal(world.socket.count("ping"), 0, "a page that goes away asks nothing");
});

test("a connection that lived through the sleep stays", async (context) => {
  const { tell } = page(context);
  const world = new World();
  const socket = await world.connect();
  world.clock.time += 3_600_000;
  tell("pageshow");
  socket.ok("ping", { time: 1 });
  await world.clock.pass(20_000);
  assert.equal(world.ff.state, "connected");
  assert.equal(socket.count("ping"), 1);
  await world.clock.pass(5_000);
  assert.equal(socket.count("ping"), 2, "the heartbeat goes on");
});

test("another network is noticed at once", async (context) => {
  const { tell } = page(context);
  const world = new World();
  await world.connect();
  tell("offline");
  tell("online");
  assert.equal(world.socket.count("ping"), 1);
  await world.clock.pass(4_000);
  assert.equal(world.ff.state, "reconnecting");
});

test("a network that is back ends the wait, though not the server's, and a flapping one does not make a storm", async (context) => {
  const { tell } = page(context);
  const world = new World();
  await world.connect();
  world.clock.chance = 0.999;
  for (let attempt = 0; attempt < 8; attempt++) {
    world.socket.drop();
    if (attempt < 7) await world.clock.pass(20_000);
  }
  const before = world.sockets.length;
  assert.ok((world.states.at(-1)?.retryInMs ?? 0) > 19_000);
  tell("online");
  await world.clock.pass(1_000);
  assert.equal(world.sockets.length, before + 1);

  world.socket.drop();
  for (let flap = 0; flap < 100; flap++) {
    tell("online");
    await world.clock.pass(20);
  }
  assert.ok(world.sockets.length <= before + 3, `${world.sockets.length - before} attempts in two seconds`);

  world.socket.onopen?.({});
  world.socket.refuse("connect", { code: "overloaded", retryable: true, retry_after_ms: 10_000 });
  const busy = world.sockets.length;
  tell("online");
  await world.clock.pass(9_900);
  assert.equal(world.sockets.length, busy);
  world.ff.close();
});

test("a token that ended while the machine slept is renewed before it is missed", async (context) => {
  const { page: document } = page(context);
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  const socket = await world.connect({ expires_ms: 600_000 });
  socket.ok("ping", { time: 0 });
  world.clock.time += 595_000;
  document.tell("visibilitychange");
  await world.clock.pass(0);
  assert.deepEqual(socket.last("refresh")["refresh"], { token: "token 2" });
  document.tell("visibilitychange");
  await world.clock.pass(0);
  assert.equal(tokens, 2, "one renewal at a time");
});

test("a sleep beyond the token's end leads to a new connection with a new token", async () => {
  let tokens = 0;
  const world = new World({ token: () => `token ${++tokens}` });
  const first = await world.connect({ expires_ms: 600_000 });
  first.ok("ping", { time: 0 });
  world.clock.time += 7_200_000;
  first.drop(4402, "token_expired");
  await world.clock.pass(0);
  world.socket.onopen?.({});
  assert.deepEqual(world.socket.last("connect")["connect"], { token: "token 2" });
  world.ff.close();
});

test("a client hangs nothing on the page once it is closed, or while it has not begun", async (context) => {
  const { listeners } = page(context);
  const world = new World({ autoConnect: false });
  assert.equal(listeners(), 0);
  for (let round = 0; round < 10; round++) {
    void world.ff.connect().catch(() => {});
    if (round % 2 === 0) await world.connect();
    assert.ok(listeners() > 0);
    world.ff.close();
    assert.deepEqual([listeners(), world.clock.timers], [0, 0], `round ${round}`);
  }
});

test("a thousand clients that were cut off together come back spread out, and do not all ask for a token", async () => {
  let asked = 0;
  const dialled: number[] = [];
  for (let n = 0; n < 1_000; n++) {
    const world = new World({ token: () => `token ${++asked}` });
    const socket = await world.connect({ expires_ms: 3_600_000 });
    socket.ok("ping", { time: 0 });
    await world.clock.pass(6_000);
    world.clock.chance = n / 1_000;
    socket.drop();
    dialled.push(world.states.at(-1)?.retryInMs ?? -1);
    await world.clock.pass(200);
    assert.equal(world.sockets.length, 2);
    world.ff.close();
  }
  assert.equal(asked, 1_000, "the tokens at hand served");
  for (let slot = 0; slot < 10; slot++) {
    const count = dialled.filter((wait) => Math.floor(wait / 20) === slot).length;
    assert.ok(count >= 90 && count <= 110, `${count} clients in the ${slot}th twentieth of a second`);
  }
});
