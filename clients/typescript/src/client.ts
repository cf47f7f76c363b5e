import { platformSocket, socketAddress } from "./address.js";
import { carrier, type Fetch } from "./carrier.js";
import { Channel } from "./channel.js";
import { type Clock, systemClock } from "./clock.js";
import { type Deferred, deferred } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { clientError, FanfareError } from "./errors.js";
import type { Answer, Command, SocketClass } from "./link.js";
import type { Message } from "./message.js";
import type { CommandKind, Inbound, Limits, Notice, Occupancy } from "./protocol.js";
import { Presence } from "./presence.js";
import { Queue } from "./queue.js";
import { type JoinLeave, readJoinLeave } from "./roster.js";
import { Session, type State, type StateChange } from "./session.js";
import type { Gap } from "./delivery.js";
import { type Port, type Start, Subscription } from "./subscription.js";
import { Tokens, type TokenSource } from "./token.js";
import { type Transport, Transports } from "./transports.js";

export interface Events {
  state: StateChange;
  /** A gap of a subscription without `onGap`. */
  gap: Gap;
  /** A message that no handler listens to, of a channel that the app's backend has subscribed for this client. */
  message: Message;
  /** Who joined or left a subscribed channel whose settings have that told. */
  joinLeave: JoinLeave;
  /** How many are on a subscribed channel whose settings have that told. */
  occupancy: Occupancy;
  /** What the server finds worth telling: `token_expiring`, `limit_near`. */
  notice: Notice;
  /** What no promise tells: a failed handler or token provider, a subscription that ended. Else on the console. */
  error: FanfareError;
}

export interface Options {
  /** A token, or a function that gets one. Without it the client is anonymous. */
  token?: TokenSource;
  /** How many commands may wait for a connection; more are refused with `queue_full`. 1,000 by default. */
  queueMax?: number;
  /** How many bytes the commands without an answer may have together; more are refused alike. 8 MiB by default. */
  queueBytesMax?: number;
  /** Whether to connect at once, as is done unasked. `false` waits for `connect()`. */
  autoConnect?: boolean;
  /** The WebSocket class, where the platform has none: Node 20, with that of the `ws` package. */
  WebSocket?: SocketClass;
  /**
   * The ways to be connected, the preferred first; the next is tried where one does not work. All of them by default:
   * `websocket`, then `stream` (an answer that is read as it comes), then `poll`.
   */
  transports?: readonly Transport[];
  /** @internal */
  clock?: Clock;
  /** @internal */
  fetch?: Fetch;
}

const QUEUE_MAX = 1_000;
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;
const TRANSPORTS: readonly Transport[] = ["websocket", "stream", "poll"];
/** Close numbers of who finds a frame of ours wrong: the same once more would end the next connection. */
const OUR_FAULT = [1002, 1003, 1007, 1008, 1009];

/** A client of one app. It connects at once, and again whenever the connection is lost, until `close()`. */
export class Fanfare {
  readonly #clock: Clock;
  readonly #tokens: Tokens;
  readonly #events = new Emitter<Events>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #presences = new Map<string, Presence>();
  readonly #queue: Queue;
  readonly #session: Session;
  readonly #transports: Transports;
  /** For those who wait for `connect`. */
  #opened: Deferred<void> | undefined;

  /** @param url The app's URL, as the dashboard shows it: `https://…/v1/apps/app_…`. */
  constructor(url: string, options: Options = {}) {
    const clock = (this.#clock = options.clock ?? systemClock);
    this.#tokens = new Tokens(options.token, clock);
    const { queueMax: countMax = QUEUE_MAX, queueBytesMax: bytesMax = QUEUE_BYTES_MAX } = options;
    this.#queue = new Queue({ clock, countMax, bytesMax });
    const request: Fetch = options.fetch ?? ((address, init) => fetch(address, init));
    const ways = (options.transports?.length ? options.transports : TRANSPORTS).map((transport) => {
      const Socket = transport === "websocket" ? (options.WebSocket ?? platformSocket()) : carrier(request, transport);
      return { transport, Socket };
    });
    this.#transports = new Transports(ways, clock);
    this.#session = new Session({
      address: socketAddress(url),
      transports: this.#transports,
      clock,
      fetch: request,
      tokens: this.#tokens,
      // Subscriptions first: who enters or publishes next may want to hear it.
      first: () => [...this.#all(), ...this.#present()].flatMap((part) => part.open() ?? []),
      onState: (change) => this.#entered(change),
      onConnected: (link, hello) => {
        for (const subscription of this.#all()) subscription.attach();
        this.#queue.open(link, hello.limits?.publish_connection);
      },
      onPush: (push, size) => this.#push(push, size),
      onLost: (error, unanswered) => this.#lost(error, unanswered),
      onWake: () => {
        for (const subscription of this.#all()) subscription.wake();
      },
      onEnd: (state, error) => this.#ended(state, error),
      onError: (error) => this.#report(error),
    });
    if (options.autoConnect !== false) this.#session.open();
  }

  get state(): State {
    return this.#session.state;
  }

  /** The id of the live connection. */
  get connection(): string | undefined {
    return this.#session.hello?.connection;
  }

  /** What the live connection goes over. */
  get transport(): Transport | undefined {
    return this.#session.hello && this.#transports.current.transport;
  }

  /** Who the live connection is, by its token. */
  get user(): string | undefined {
    return this.#session.hello?.user;
  }

  /** What the app lets the live connection do. */
  get limits(): Limits | undefined {
    return this.#session.hello?.limits;
  }

  /** A channel by name. Nothing is sent until something is asked of it. */
  channel(name: string): Channel {
    return new Channel(name, {
      command: (kind, body) => this.#command(kind, body, name),
      subscription: () => this.#subscriptions.get(name),
      subscribe: (start) => this.#subscribe(name, start),
      present: () => this.#presences.get(name),
      presence: () => this.#presences.get(name) ?? this.#presence(name),
    });
  }

  /** Listens to an event; the answer stops that. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): () => void {
    return this.#events.on(name, listener);
  }

  /**
   * Resolves when connected, and connects again after `closed` or `failed`. It fails when the client is closed or
   * coming back would be of no use; as long as the network is at fault it waits.
   */
  connect(): Promise<void> {
    if (this.state === "connected") return Promise.resolve();
    const opened = (this.#opened ??= deferred());
    // Who does not wait for it listens to states.
    opened.promise.catch(() => {});
    this.#session.open();
    return opened.promise;
  }

  /**
   * Gives the server a new token over the live connection: the one given, or what the provider returns now. Rights
   * change in place. Without a connection the next one uses it.
   */
  refresh(token?: string): Promise<void> {
    if (token === undefined) this.#tokens.forget();
    else this.#tokens.give(token);
    return this.#session.renew();
  }

  /** Asks the server for a sign of life; the answer is how many milliseconds it took. */
  async ping(): Promise<number> {
    return new Promise((resolve, reject) => {
      const settle = ({ error }: Answer) => {
        if (error === undefined) resolve(this.#clock.now() - (ping.sentAt ?? 0));
        else reject(error);
      };
      const ping: Command = { kind: "ping", body: "{}", settle };
      if (!this.#session.send(ping)) {
        reject(clientError("connection_lost", "there is no connection", { retryable: true }));
      }
    });
  }

  /** Ends the connection and every subscription. Commands without an answer fail with `closed`. */
  close(): void {
    this.#session.close();
  }

  #all(): Subscription[] {
    return [...this.#subscriptions.values()];
  }

  #present(): Presence[] {
    return [...this.#presences.values()];
  }

  #entered(change: StateChange): void {
    if (change.state === "connected") {
      this.#opened?.resolve();
      this.#opened = undefined;
    }
    this.#events.emit("state", change);
  }

  #lost(error: FanfareError, unanswered: readonly Command[]): void {
    for (const part of [...this.#all(), ...this.#present()]) part.detach();
    const again = (command: Command) => command.order !== undefined && !OUR_FAULT.includes(error.closeCode ?? 0);
    this.#queue.shut(unanswered.filter(again));
    for (const command of unanswered) if (!again(command)) command.settle({ error });
  }

  #ended(state: "closed" | "failed", error: FanfareError): void {
    this.#queue.shut([]);
    this.#queue.fail(error);
    for (const subscription of this.#all()) subscription.end(state === "failed" ? error : undefined);
    for (const presence of this.#present()) presence.end(error);
    this.#opened?.reject(error);
    this.#opened = undefined;
  }

  #push(push: Inbound, size: number): void {
    const { msg, recovery, gap, subscribed, presence, unsubscribed, presence_ended: ended } = push;
    const { reconnect, notice, error, join_leave: joinLeave, occupancy } = push;
    if (msg !== undefined) this.#subscriptions.get(msg.channel)?.onMessage(msg, size);
    else if (recovery !== undefined) this.#subscriptions.get(recovery.channel)?.onRecovery(recovery);
    else if (gap !== undefined) this.#subscriptions.get(gap.channel)?.onGap(gap.from, gap.to, gap.dropped);
    else if (subscribed !== undefined) {
      const { channel } = subscribed;
      (this.#subscriptions.get(channel) ?? this.#subscribe(channel, {})).onSubscribed(subscribed);
    } else if (presence !== undefined) this.#presences.get(presence.channel)?.onPush(presence);
    else if (joinLeave !== undefined) this.#events.emit("joinLeave", readJoinLeave(joinLeave));
    else if (occupancy !== undefined) this.#events.emit("occupancy", occupancy);
    else if (unsubscribed !== undefined) {
      const { channel, error } = unsubscribed;
      this.#subscriptions.get(channel)?.onUnsubscribed(new FanfareError(error, { channel }));
    } else if (ended !== undefined) {
      const { channel, what, error } = ended;
      this.#presences.get(channel)?.onEnded(what, new FanfareError(error, { channel }));
    } else if (reconnect !== undefined) this.#session.moveIn(reconnect.after_ms);
    else if (notice !== undefined) {
      if (notice.kind === "token_expiring") this.#session.expiring(notice["expires_ms"] as number | undefined);
      this.#events.emit("notice", notice);
    } else if (error !== undefined) this.#report(new FanfareError(error));
  }

  #subscribe(name: string, start: Start): Subscription {
    const port: Port = {
      clock: this.#clock,
      time: this.#session.time,
      ready: () => this.#session.ready,
      send: (command) => this.#session.send(command),
      gap: (gap) => this.#events.emit("gap", gap),
      message: (message) => this.#events.emit("message", message),
      error: (error) => this.#report(error),
      left: () => {
        const presence = this.#presences.get(name);
        if (presence?.entered) presence.attach();
      },
      ended: (subscription) => {
        if (this.#subscriptions.get(name) === subscription) this.#subscriptions.delete(name);
      },
    };
    const subscription = new Subscription(port, name, start);
    this.#subscriptions.set(name, subscription);
    return subscription;
  }

  #presence(name: string): Presence {
    const presence = new Presence(
      {
        clock: this.#clock,
        ready: () => this.#session.ready,
        send: (command) => this.#session.send(command),
        watch: (wanted) => {
          const there = this.#subscriptions.get(name);
          if (wanted) (there ?? this.#subscribe(name, {})).watch(true);
          else there?.watch(false);
        },
        error: (error) => this.#report(error),
        idle: () => {
          if (this.#presences.get(name) === presence) this.#presences.delete(name);
        },
      },
      name,
    );
    this.#presences.set(name, presence);
    return presence;
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
    if (this.state !== "closed" && this.state !== "failed") this.#queue.give(kind, body, channel, settle);
    else reject(clientError("closed", `the client is ${this.state}`, { channel }));
    return promise;
  }

  #report(error: FanfareError): void {
    if (!this.#events.emit("error", error)) console.error(error);
  }
}
