import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { deferred } from "./deferred.js";
import { Delivery, type Gap, type Handler } from "./delivery.js";
import { clientError, type FanfareError } from "./errors.js";
import type { Answer, Command } from "./link.js";
import { type Message, readMessage } from "./message.js";
import type { SubscribedOk, WireMessage, WireRecovery } from "./protocol.js";
import { Renewal, type ServerTime } from "./renewal.js";
import { Tokens, type TokenSource } from "./token.js";

/** How far back a new subscription starts. */
export type Rewind = { messages: number } | { ms: number };

/** Where and with whose rights a subscription starts. */
export interface Start {
  /** Start after this position, as a message or `position` gave it. */
  position?: string;
  /** Start this far back. Needs the right to read history. */
  rewind?: Rewind;
  /** A channel token, or a function that gets one: the rights to this subscription alone. */
  token?: TokenSource;
}

export interface SubscribeOptions extends Start {
  /** Called once for every gap, before any message after it. Without it the client's `gap` event tells. */
  onGap?: (gap: Gap) => unknown;
}

/** What a subscription starts with. */
export interface Subscribed {
  /** Everything after it arrives. */
  readonly position: string;
  /** Whether everything since the position asked for arrives; absent where none was. */
  readonly recovered: boolean | undefined;
}

/** What a subscription needs of its client. */
export interface Port {
  readonly clock: Clock;
  readonly time: ServerTime;
  /** Whether commands go out. */
  ready(): boolean;
  /** Sends if it can; says whether it did. */
  send(command: Command): boolean;
  gap(gap: Gap): unknown;
  /** A message that no handler listens to. */
  message(message: Message): unknown;
  error(error: FanfareError): void;
  /** An unsubscribe was sent, which ends a membership too. */
  left(): void;
  /** The subscription is over; the client forgets it. */
  ended(subscription: Subscription): void;
}

interface Waiter {
  readonly promise: Promise<Subscribed>;
  readonly resolve: (subscribed: Subscribed) => void;
  readonly reject: (error: FanfareError) => void;
}

const WITHOUT_PRESENCE: string[] = ["forbidden", "presence_off"];

/**
 * One channel on the wire, for all its handlers. What it wants outlives connections: it is subscribed again on each
 * new one, from the position after the last message whose handlers returned, and what comes twice is dropped.
 */
export class Subscription {
  readonly channel: string;
  readonly #port: Port;
  readonly #delivery: Delivery;
  readonly #tokens: Tokens | undefined;
  readonly #renewal: Renewal | undefined;
  readonly #backoff: Backoff;
  #waiters: Waiter[] = [];
  /** `token`: a channel token is being got; `full`: handlers are too slow, and the flow is stopped until they are through. */
  #phase: "wanted" | "token" | "asked" | "live" | "full" | "ended" = "wanted";
  #cancelRetry: () => void = () => {};
  /** Counts subscribe commands, so that the answer to an earlier one is known when it comes late. */
  #asked = 0;
  /** Until the first answer: where the caller wants to start. */
  #start: Start | undefined;
  /** A position of the server's own that it no longer knows. */
  #unknown: string | undefined;
  /** Whether presence is to come with it, and why it cannot. */
  #watched = false;
  #unwatched: FanfareError | undefined;
  #lineage = "";
  #seq = 0;
  #recovered: boolean | undefined;

  constructor(port: Port, channel: string, start: Start) {
    this.#port = port;
    this.channel = channel;
    this.#start = start;
    if (start.token !== undefined) {
      const { clock, time, error } = port;
      const tokens = (this.#tokens = new Tokens(start.token, clock));
      this.#renewal = new Renewal({ clock, time, tokens, channel, error, send: (command) => port.send(command) });
    }
    this.#backoff = new Backoff(port.clock);
    const { gap, message, error } = port;
    this.#delivery = new Delivery({ channel, gap, message, error, emptied: () => this.#emptied() }, start.position);
  }

  /** The position after the last message whose handlers returned. */
  get position(): string | undefined {
    return this.#delivery.handled;
  }

  listen(handler: Handler, onGap: ((gap: Gap) => unknown) | undefined): Promise<Subscribed> {
    this.#delivery.listen(handler, onGap);
    if (this.#phase === "live") return Promise.resolve(this.#subscribed());
    const { promise, resolve, reject } = deferred<Subscribed>();
    this.#waiters.push({ promise, resolve, reject });
    return promise;
  }

  /** Whether presence comes with it: on a live subscription, that takes another one from where it is. */
  watch(wanted: boolean): void {
    if (this.#watched === wanted) return;
    this.#watched = wanted;
    if (!wanted && !this.#delivery.wanted) return this.end();
    if (wanted && (this.#phase === "live" || this.#phase === "asked")) {
      this.#unsubscribe(() => {});
      this.#phase = "wanted";
    }
    this.attach();
  }

  /** Timers may have stood still. */
  wake(): void {
    this.#renewal?.wake();
  }

  /** Takes the handler away; says whether nobody wants the subscription any more. */
  forget(handler: Handler | undefined): boolean {
    this.#delivery.forget(handler);
    return !this.#delivery.wanted && !this.#watched;
  }

  /** The subscribe command, where one is due. */
  open(): Command | undefined {
    if (this.#phase !== "wanted") return undefined;
    this.#cancelRetry();
    const token = this.#tokens?.atHand;
    if (this.#tokens !== undefined && token === undefined) return this.#getToken(this.#tokens);
    this.#phase = "asked";
    const asked = ++this.#asked;
    const { channel } = this;
    const position = this.#delivery.resume;
    const rewind = position === undefined ? this.#start?.rewind : undefined;
    return {
      kind: "subscribe",
      body: JSON.stringify({ channel, position, rewind, token, presence: this.#watched || undefined }),
      channel,
      settle: (answer) => {
        if (asked === this.#asked && this.#phase === "asked") this.#answered(answer);
      },
    };
  }

  /** Subscribes, if a connection is there. */
  attach(): void {
    const command = this.#port.ready() ? this.open() : undefined;
    if (command !== undefined) this.#port.send(command);
  }

  /** The connection is gone. */
  detach(): void {
    this.#cancelRetry();
    this.#renewal?.stop();
    if (this.#phase !== "ended" && this.#phase !== "full") this.#phase = "wanted";
  }

  onMessage(wire: WireMessage, size: number): void {
    if (this.#phase !== "live" || wire.seq <= this.#seq) return;
    const message = readMessage(wire, this.channel, this.#lineage);
    if (!this.#delivery.hold({ message, position: message.position, size })) return this.#overflow();
    this.#seq = wire.seq;
  }

  /** The app's backend has subscribed this connection: it is live without having asked. */
  onSubscribed(start: SubscribedOk): void {
    if (this.#phase === "wanted") this.#phase = "asked";
    if (this.#phase === "asked") this.#answered({ ok: start });
  }

  onRecovery(push: WireRecovery): void {
    if (this.#phase === "live") this.#continueFrom(push);
  }

  onGap(from: string, to: string, dropped: number): void {
    if (this.#phase !== "live") return;
    this.#delivery.take({ position: to, gap: { channel: this.channel, reason: "dropped", from, to, dropped }, size: 0 });
  }

  onUnsubscribed(error: FanfareError): void {
    if (this.#phase === "ended") return;
    this.#renewal?.stop();
    this.#phase = "wanted";
    this.#refused(error);
  }

  /**
   * The end of it: handlers are called no more, and waiting `subscribe` promises fail, with the server's refusal where
   * there is one. `done` runs when the server knows.
   */
  end(refusal?: FanfareError, done: () => void = () => {}): void {
    if (this.#phase === "ended") return done();
    const asked = this.#phase === "asked" || this.#phase === "live";
    this.#phase = "ended";
    this.#cancelRetry();
    this.#renewal?.stop();
    this.#delivery.clear();
    this.#port.ended(this);
    const why = refusal ?? clientError("closed", `unsubscribed from ${this.channel}`, { channel: this.channel });
    for (const { promise, reject } of this.#waiters.splice(0)) {
      // Who unsubscribes knows it: a promise that nobody looked at is no news, as a refusal would be.
      if (refusal === undefined) promise.catch(() => {});
      reject(why);
    }
    if (refusal !== undefined || !asked || !this.#unsubscribe(done)) done();
  }

  #unsubscribe(done: () => void): boolean {
    const { channel } = this;
    const body = JSON.stringify({ channel });
    const sent = this.#port.send({ kind: "unsubscribe", body, channel, settle: () => done() });
    if (sent) this.#port.left();
    return sent;
  }

  #answered({ ok, error }: Answer): void {
    if (error !== undefined) {
      this.#phase = "wanted";
      return this.#refused(error);
    }
    this.#phase = "live";
    this.#backoff.reset();
    this.#start = undefined;
    const subscribed = ok as SubscribedOk;
    this.#renewal?.start(subscribed.expires_ms);
    if (this.#unwatched !== undefined) this.#port.error(this.#unwatched);
    this.#unwatched = undefined;
    const from = this.#unknown;
    this.#unknown = undefined;
    this.#recovered = from === undefined ? subscribed.recovered : false;
    if (from === undefined) this.#continueFrom(subscribed);
    else this.#continueFrom({ ...subscribed, recovered: false, reason: "invalid_position", from });
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(this.#subscribed());
  }

  #subscribed(): Subscribed {
    return { position: `${this.#lineage}.${this.#seq}`, recovered: this.#recovered };
  }

  /** The server says from where on everything arrives, and whether something before that is lost. */
  #continueFrom(start: SubscribedOk | WireRecovery): void {
    this.#lineage = start.lineage;
    this.#seq = start.seq;
    const { channel } = this;
    const lost = start.recovered === false;
    const position = `${start.lineage}.${start.seq}`;
    const gap = lost ? { channel, reason: start.reason ?? "", from: start.from, to: start.to ?? position } : undefined;
    this.#delivery.begin(position, gap);
  }

  #refused(error: FanfareError): void {
    const renew = this.#tokens?.renewable === true && error.retry === "token";
    if (renew) this.#tokens?.forget();
    // A position that the caller brought is the caller's to mend; one of the server's own is lost, and told as a gap.
    const unknown = error.code === "invalid_position" && this.#start === undefined && this.#delivery.resume !== undefined;
    if (unknown) {
      this.#unknown = this.#delivery.resume;
      this.#delivery.lose();
    }
    // The right to presence may be what is missing: messages come without it.
    const unwatched = this.#watched && !renew && this.#delivery.wanted && WITHOUT_PRESENCE.includes(error.code);
    if (unwatched) {
      this.#watched = false;
      this.#unwatched = error;
    }
    if (error.retryable || renew || unknown || unwatched) {
      const soon = unknown || unwatched || (renew && this.#backoff.fresh);
      const wait = this.#backoff.next(error.retryAfterMs);
      this.#cancelRetry = this.#port.clock.after(soon ? 0 : wait, () => this.attach());
      return;
    }
    // Who waits for `subscribe` is told by its promise; a subscription lost later has no promise left to tell.
    if (this.#waiters.length === 0) this.#port.error(error);
    this.end(error);
  }

  #getToken(tokens: Tokens): undefined {
    this.#phase = "token";
    const got = (then: () => void) => {
      if (this.#phase !== "token") return;
      this.#phase = "wanted";
      then();
    };
    tokens.fresh().then(
      () => {
        // Until the server has said when it ends, it serves.
        tokens.keep(Infinity);
        got(() => this.attach());
      },
      (error: FanfareError) =>
        got(() => {
          this.#port.error(error);
          this.#refused(error);
        }),
    );
  }

  /** Handlers are too slow: stop the flow, and fetch the rest from history once they are through. */
  #overflow(): void {
    this.#phase = "full";
    this.#unsubscribe(() => {});
  }

  #emptied(): void {
    if (this.#phase !== "full") return;
    this.#phase = "wanted";
    this.attach();
  }
}
