import assert from "node:assert/strict";
import { test } from "node:test";
import { renewAfter } from "../src/token.js";
import { settled, World } from "./fake.js";

test("a token is renewed a minute before its end, or in the last fifth of a short life", () => {
  assert.equal(renewAfter(3_600_000), 3_540_000);
  assert.equal(renewAfter(100_000), 80_000);
  assert.equal(renewAfter(0), 1_000);
  assert.equal(renewAfter(-5_000), 1_000);
});

test("the provider is called at connect and in good time, by the server's clock", async () => {
  let tokens = 0;
  const world = new World({ token: async () => `token ${++tokens}\n` });
  const socket = await world.connect({ expires_ms: 600_000 });
  assert.deepEqual(socket.last("connect")["connect"], { token: "token 1" });
  // The server's clock shows something quite different from ours.
  socket.ok("ping", { time: 500_000 });
  socket.say({ reconnect: undefined });
  await world.clock.pass(24_000);
  socket.say({});
  await world.clock.pass(24_000);
  socket.say({});
  await world.clock.pass(24_000);
  socket.say({});
  assert.equal(tokens, 1);
  await world.clock.pass(8_000);
  assert.deepEqual(socket.last("refresh")["refresh"], { token: "token 2" });
  socket.ok("refresh", { expires_ms: 1_200_000 });
  await settled();
  for (let spent = 0; spent < 560_000; spent += 20_000) {
    socket.say({});
    await world.clock.pass(20_000);
  }
  assert.equal(tokens, 3, "the next renewal was planned, without asking for the time again");
  assert.equal(socket.count("ping"), 1);
});

test("a failing provider is reported and asked again, and the connection stays", async () => {
  let broken = false;
  const world = new World({
    token: () => {
      if (broken) throw new Error("503");
      return "t";
    },
  });
  const socket = await world.connect({ expires_ms: 100_000 });
  socket.ok("ping", { time: 90_000 });
  broken = true;
  await world.clock.pass(8_000);
  assert.deepEqual(world.errors.map((error) => error.code), ["token_failed"]);
  broken = false;
  await world.clock.pass(1_100);
  assert.equal(socket.count("refresh"), 1);
  assert.equal(world.ff.state, "connected");
});

test("a refused renewal is reported and tried again", async () => {
  const world = new World({ token: () => "t" });
  const socket = await world.connect({ expires_ms: 100_000 });
  socket.ok("ping", { time: 0 });
  for (let spent = 0; spent < 80_000; spent += 20_000) {
    socket.say({});
    await world.clock.pass(20_000);
  }
  socket.refuse("refresh", { code: "token_invalid" });
  await settled();
  assert.deepEqual(world.errors.map((error) => error.code), ["token_invalid"]);
  await world.clock.pass(1_100);
  assert.equal(socket.count("refresh"), 2);
});

test("a provider that gives nothing, fails or never answers keeps the client trying", async () => {
  for (const token of [() => "", () => Promise.reject(new Error("offline")), () => new Promise<string>(() => {})]) {
    const world = new World({ token });
    await world.clock.pass(30_000);
    assert.equal(world.ff.state, "reconnecting");
    assert.equal(world.errors[0]?.code, "token_failed");
    assert.equal(world.sockets.length, 0);
    world.ff.close();
  }
});
