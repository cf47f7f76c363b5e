import { Backoff } from "./backoff.js";
import { Channel } from "./channel.js";
import { type Clock, systemClock } from "./clock.js";
import { deferred } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { clientError, FanfareError } from "./errors.js";
import { type Answer, type Command, Link, type SocketClass } from "./link.js";
import type { CommandKind, Hello, Inbound } from "./protocol.js";
import { type Gap, type Port, type SubscribeOptions, Subscription } from "./subscription.js";
import { Renewal } from "./renewal.js";
import { getToken, type TokenSource } from "./token.js";

/**
 * `connecting` at first, `connected`, `reconnecting` whenever the connection is gone and will be sought again,
 * `closed` after `close()`, `failed` when coming back unchanged would fail again.
 */
export type State = "connecting" | "connected" | "reconnecting" | "closed" | "failed";

export interface StateChange {
  readonly state: State;
  readonly previous: State;
  /** Why, when it was not asked for. */
  readonly reason: FanfareError | undefined;
  /** When `reconnecting`: in how many milliseconds the next attempt is made. */
  readonly retryInMs: number | undefined;
}

export interface Events {
  state: StateChange;
  /** A gap of a subscription without `onGap`. */
  gap: Gap;
  /** What no promise tells: a failed handler or token provider, a subscription that ended. Else on the console. */
  error: FanfareError;
}

export interface Options {
  /** A token, or a function that gets one. Without it the client is anonymous. */
  token?: TokenSource;
  /** How many commands may wait for a connection; more are refused with `queue_full`. 1,000 by default. */
  queueMax?: number;
  /** The WebSocket class, where the platform has none: Node 20, with that of the `ws` package. */
  WebSocket?: SocketClass;
  /** @internal */
  clock?: Clock;
  /** @internal */
  fetch?: (url: string) => Promise<Pick<Response, "json">>;
}

const QUEUE_MAX = 1_000;
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;
/** A connection that lived so long was a good one: backoff starts over after it. */
const STABLE_MS = 5_000;

/** A client of one app. It connects at once, and again whenever the connection is lost, until `close()`. */
export class Fanfare {
  readonly #address: string;
  readonly #Socket: SocketClass;
  readonly #token: TokenSource | undefined;
  readonly #queueMax: number;
  readonly #clock: Clock;
  readonly #fetch: NonNullable<Options["fetch"]>;
  readonly #backoff: Backoff;
  readonly #events = new Emitter<Events>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #renewal: Renewal;
  /** Commands that wait for a connection, in the order in which they were given. */
  #queue: Command[] = [];
  #queueBytes = 0;
  #state: State = "connecting";
  #link: Link | undefined;
  #connection: string | undefined;
  /** When the last connection was welcomed; 0 before the first. */
  #connectedAt = 0;
  /** Counts attempts, so that what belongs to an earlier one is known when it comes late. */
  #attempt = 0;
  #cancelTimer: () => void = () => {};
  readonly #onOnline = () => this.#dialNow();

  /** @param url The app's URL, as the dashboard shows it: `https://…/v1/apps/app_…`. */
  constructor(url: string, options: Options = {}) {
    this.#address = socketAddress(url);
    this.#Socket = options.WebSocket ?? platformSocket();
    this.#token = options.token;
    this.#queueMax = options.queueMax ?? QUEUE_MAX;
    this.#clock = options.clock ?? systemClock;
    this.#fetch = options.fetch ?? ((address) => fetch(address));
    this.#backoff = new Backoff(this.#clock);
    this.#renewal = new Renewal({
      clock: this.#clock,
      send: (kind, body, settle) => this.#sendNow({ kind, body, settle, replay: false }),
      token: () => getToken(this.#token, this.#clock),
      error: (error) => this.#report(error),
    });
    this.#start();
  }

  get state(): State {
    return this.#state;
  }

  /** The id of the live connection. */
  get connection(): string | undefined {
    return this.#connection;
  }

  /** A channel by name. Nothing is sent until something is asked of it. */
  channel(name: string): Channel {
    return new Channel(name, {
      command: (kind, body) => this.#command(kind, body, name),
      subscription: () => this.#subscriptions.get(name),
      subscribe: (start) => this.#subscribe(name, start),
    });
  }

  /** Listens to an event; the answer stops that. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): () => void {
    return this.#events.on(name, listener);
  }

  /** Connects again after `closed` or `failed`; otherwise it does nothing. */
  connect(): void {
    if (this.#state !== "closed" && this.#state !== "failed") return;
    this.#enter("connecting");
    this.#start();
  }

  /** Ends the connection and every subscription. Commands without an answer fail with `closed`. */
  close(): void {
    if (this.#state === "closed") return;
    this.#stop(clientError("closed", "the client was closed"));
    for (const subscription of [...this.#subscriptions.values()]) subscription.end();
    this.#enter("closed");
  }

  #start(): void {
    this.#backoff.reset();
    globalThis.addEventListener?.("online", this.#onOnline);
    this.#after(0);
  }

  /** Ends the attempt or connection there is; everything that waits fails with the error. */
  #stop(error: FanfareError): void {
    globalThis.removeEventListener?.("online", this.#onOnline);
    const unanswered = this.#drop();
    for (const command of [...unanswered, ...this.#takeQueue()]) command.settle({ error });
  }

  /** Lets go of the link, and answers what it had not answered. */
  #drop(): Command[] {
    this.#attempt += 1;
    this.#cancelTimer();
    this.#renewal.stop();
    const unanswered = this.#link?.close() ?? [];
    this.#link = undefined;
    this.#connection = undefined;
    return unanswered;
  }

  #after(wait: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(wait, () => void this.#dial());
  }

  /** The network came back: no reason to wait longer. */
  #dialNow(): void {
    if (this.#state === "reconnecting" && this.#link === undefined) this.#after(0);
  }

  async #dial(): Promise<void> {
    const attempt = ++this.#attempt;
    let token: string | undefined;
    try {
      token = await getToken(this.#token, this.#clock);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#report(error as FanfareError);
      return this.#lost(error as FanfareError, []);
    }
    if (attempt !== this.#attempt) return;
    this.#link = new Link({
      Socket: this.#Socket,
      address: this.#address,
      clock: this.#clock,
      token,
      onHello: (hello) => this.#connected(hello),
      onPush: (push) => this.#push(push),
      onLost: (error, unanswered) => this.#lost(error, unanswered),
    });
  }

  #connected(hello: Hello): void {
    this.#connection = hello.connection;
    this.#connectedAt = this.#clock.now();
    this.#enter("connected");
    // A listener may have closed it.
    if (this.#state !== "connected") return;
    if (typeof this.#token === "function") this.#renewal.start(hello.expires_ms);
    // Subscriptions first: who publishes next may want to hear it.
    for (const subscription of [...this.#subscriptions.values()]) subscription.attach();
    for (const command of this.#takeQueue()) this.#link?.send(command);
  }

  #lost(error: FanfareError, unanswered: Command[]): void {
    const wasConnected = this.#state === "connected";
    this.#drop();
    if (wasConnected && this.#clock.now() - this.#connectedAt >= STABLE_MS) this.#backoff.reset();
    for (const subscription of this.#subscriptions.values()) subscription.detach();
    for (const command of unanswered) if (!command.replay) command.settle({ error });
    const again = unanswered.filter((command) => command.replay);
    this.#queue.unshift(...again);
    this.#queueBytes += again.reduce((bytes, command) => bytes + command.body.length, 0);

    const retry = error.retry;
    if (retry === "never" || (retry === "token" && typeof this.#token !== "function")) return this.#fail(error);
    // What only needs a new token, or another node, is tried at once; a second time in a row it waits like the rest.
    const soon = retry === "token" && this.#backoff.fresh;
    const wait = this.#backoff.next(error.retryAfterMs);
    const retryInMs = soon ? (error.retryAfterMs ?? 0) : wait;
    this.#after(retryInMs);
    this.#enter("reconnecting", error, retryInMs);
    if (this.#connectedAt === 0 && error.closeCode === 1006) void this.#askWhy();
  }

  /** WebSockets do not say why a handshake was refused. For an app that is not there, the same URL says it to `fetch`. */
  async #askWhy(): Promise<void> {
    const problem = await this.#fetch(this.#address.replace(/^ws/, "http"))
      .then((answer) => answer.json())
      .catch(() => undefined);
    if (problem?.code === "not_found" && this.#state === "reconnecting" && this.#connectedAt === 0) {
      this.#fail(new FanfareError(problem));
    }
  }

  #fail(error: FanfareError): void {
    this.#stop(error);
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(error);
    this.#enter("failed", error);
  }

  #push(push: Inbound): void {
    const { msg, recovery, unsubscribed, reconnect } = push;
    if (msg !== undefined) this.#subscriptions.get(msg.channel)?.onMessage(msg);
    else if (recovery !== undefined) this.#subscriptions.get(recovery.channel)?.onRecovery(recovery);
    else if (unsubscribed !== undefined) {
      const { channel, error } = unsubscribed;
      this.#subscriptions.get(channel)?.onUnsubscribed(new FanfareError(error, { channel }));
    } else if (reconnect !== undefined) this.#moveIn(reconnect.after_ms);
  }

  /** The server asks to come back in a while, on a new connection. */
  #moveIn(wait: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(wait, () => {
      const moving = new FanfareError(
        { code: "moving", detail: "the server asked to reconnect", retryable: true },
        { closeCode: 4200 },
      );
      this.#lost(moving, this.#link?.close() ?? []);
    });
  }

  #subscribe(name: string, start: Pick<SubscribeOptions, "position" | "rewind">): Subscription {
    const port: Port = {
      send: (kind, body, settle) =>
        this.#sendNow({ kind, body: JSON.stringify(body), channel: name, settle, replay: false }),
      backoff: () => new Backoff(this.#clock),
      after: (milliseconds, run) => this.#clock.after(milliseconds, run),
      gap: (gap) => this.#events.emit("gap", gap),
      error: (error) => this.#report(error),
      ended: (subscription) => {
        if (this.#subscriptions.get(name) === subscription) this.#subscriptions.delete(name);
      },
    };
    const subscription = new Subscription(port, name, start);
    this.#subscriptions.set(name, subscription);
    return subscription;
  }

  #sendNow(command: Command): boolean {
    if (this.#state !== "connected" || this.#link === undefined) return false;
    this.#link.send(command);
    return true;
  }

  /** Sends a command, or lets it wait for a connection. It is answered once, whatever happens to connections. */
  #command(kind: CommandKind, body: string, channel: string): Promise<unknown> {
    const { promise, resolve, reject } = deferred<unknown>();
    const settle = ({ ok, error }: Answer) => {
      if (error === undefined) return resolve(ok);
      // Who closes the client knows it: a promise that nobody looked at is no news, as a refusal would be.
      if (error.code === "closed") promise.catch(() => {});
      reject(error);
    };
    const command: Command = { kind, body, channel, settle, replay: true };
    if (this.#state === "closed" || this.#state === "failed") {
      reject(clientError("closed", `the client is ${this.#state}`, { channel }));
    } else if (!this.#sendNow(command)) {
      if (this.#queue.length >= this.#queueMax || this.#queueBytes + body.length > QUEUE_BYTES_MAX) {
        reject(clientError("queue_full", "too much waits for a connection already", { channel, retryable: true }));
      } else {
        this.#queue.push(command);
        this.#queueBytes += body.length;
      }
    }
    return promise;
  }

  #takeQueue(): Command[] {
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    return queue;
  }

  #enter(state: State, reason?: FanfareError, retryInMs?: number): void {
    const previous = this.#state;
    this.#state = state;
    this.#events.emit("state", { state, previous, reason, retryInMs });
  }

  #report(error: FanfareError): void {
    if (!this.#events.emit("error", error)) console.error(error);
  }
}

/** `https://host/v1/apps/app_…` → `wss://host/v1/apps/app_…/socket`. */
function socketAddress(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw clientError("invalid_url", `${JSON.stringify(url)} is no URL; the dashboard shows the app's`, { cause });
  }
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[parsed.protocol];
  if (scheme === undefined || !/\/v1\/apps\/[^/]+\/?$/.test(parsed.pathname) || parsed.search || parsed.hash) {
    throw clientError("invalid_url", "the app's URL reads https://<gateway>/v1/apps/<app>");
  }
  return `${scheme}//${parsed.host}${parsed.pathname.replace(/\/$/, "")}/socket`;
}

function platformSocket(): SocketClass {
  const found = (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (found !== undefined) return found;
  throw clientError(
    "no_websocket",
    "this platform has no WebSocket (Node has one from version 22): install the package `ws` and pass its class, " +
      'new Fanfare(url, { WebSocket }) after import { WebSocket } from "ws"',
  );
}
