/** A server, its sockets and a clock that tests hold in their hands. */
import { Fanfare, type Options, type StateChange, type FanfareError, type Gap } from "../src/index.js";
import type { Clock } from "../src/clock.js";

export class FakeClock implements Clock {
  time = 1_700_000_000_000;
  /** What `random` gives. */
  chance = 0.5;
  readonly waits: number[] = [];
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.time;
  }

  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.time + milliseconds, run };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  random(): number {
    return this.chance;
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** Lets time pass, timer by timer, with all that follows from each. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.time + milliseconds;
    await settled();
    for (;;) {
      const next = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.time = Math.max(this.time, next.at);
      next.run();
      await settled();
    }
    this.time = end;
  }
}

/** Everything that promises have set in motion is done. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Sent {
  id: number;
  [command: string]: any;
}

export class FakeSocket {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: unknown) => void) | null = null;
  onclose: ((event: unknown) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readonly sent: Sent[] = [];
  /** How many commands each frame held. */
  readonly frames: number[] = [];
  closed = false;

  constructor(
    readonly url: string,
    readonly protocols: string[] = [],
  ) {}

  send(text: string): void {
    const commands = text.split("\n").map((line) => JSON.parse(line) as Sent);
    this.sent.push(...commands);
    this.frames.push(commands.length);
  }

  close(): void {
    this.closed = true;
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The last command of that kind. */
  last(kind: string): Sent {
    const found = this.sent.filter((command) => kind in command).at(-1);
    if (found === undefined) throw new Error(`no ${kind} among ${JSON.stringify(this.sent)}`);
    return found;
  }

  count(kind: string): number {
    return this.sent.filter((command) => kind in command).length;
  }

  ok(kind: string, ok: object = {}): void {
    this.say({ id: this.last(kind).id, ok });
  }

  refuse(kind: string, problem: { code: string; [field: string]: unknown }): void {
    this.say({ id: this.last(kind).id, error: { detail: "no", retryable: false, ...problem } });
  }

  hello(more: object = {}): void {
    this.onopen?.({});
    this.ok("connect", { connection: "con_1", heartbeat_ms: 25_000, limits: {}, ...more });
  }

  subscribed(start: object = {}): void {
    const { channel } = this.last("subscribe")["subscribe"];
    this.ok("subscribe", { channel, lineage: "L1", seq: 0, ...start });
  }

  message(seq: number, more: object = {}): void {
    this.say({ msg: { channel: "room:9", seq, id: `m${seq}`, time: 1, data: seq, ...more } });
  }

  drop(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

export class World {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  readonly states: StateChange[] = [];
  readonly errors: FanfareError[] = [];
  readonly gaps: Gap[] = [];
  readonly ff: Fanfare;

  constructor(options: Options = {}) {
    const sockets = this.sockets;
    class Socket extends FakeSocket {
      constructor(url: string, protocols?: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    }
    this.ff = new Fanfare("https://live.example/v1/apps/app_1", {
      WebSocket: Socket,
      transports: ["websocket"],
      clock: this.clock,
      fetch: () => Promise.reject(new Error("no network in tests")),
      ...options,
    });
    this.ff.on("state", (change) => this.states.push(change));
    this.ff.on("error", (error) => this.errors.push(error));
    this.ff.on("gap", (gap) => this.gaps.push(gap));
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("nothing was dialled");
    return socket;
  }

  /** The names of the states gone through. */
  get path(): string {
    return this.states.map((change) => change.state).join(" ");
  }

  /** Waits for the next dial and lets it succeed. */
  async connect(hello: object = {}): Promise<FakeSocket> {
    const before = this.sockets.length;
    for (let tries = 0; tries < 100 && this.sockets.length === before; tries++) await this.clock.pass(250);
    if (this.sockets.length === before) throw new Error("nothing was dialled");
    this.socket.hello(hello);
    await settled();
    return this.socket;
  }
}
