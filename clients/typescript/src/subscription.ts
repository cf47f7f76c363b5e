import type { Backoff } from "./backoff.js";
import { deferred } from "./deferred.js";
import { clientError, type FanfareError } from "./errors.js";
import type { Answer } from "./link.js";
import { type Message, readMessage } from "./message.js";
import type { SubscribedOk, WireMessage, WireRecovery } from "./protocol.js";
import { RecentIds } from "./recent.js";

/** A part of the channel that was missed and cannot be had any more. */
export interface Gap {
  readonly channel: string;
  /** `epoch_changed`, `diverged`, `truncated`, `denied` or `too_old`. */
  readonly reason: string;
  /** The last position before it, and the one after which messages arrive again, as far as the server knows them. */
  readonly from: string | undefined;
  readonly to: string | undefined;
}

/** Called with one message after another: the next waits until what this returned is done. */
export type Handler<T = unknown> = (message: Message<T>) => unknown;

/** How far back a new subscription starts. */
export type Rewind = { messages: number } | { ms: number };

export interface SubscribeOptions {
  /** Start after this position, as a message or `position` gave it. */
  position?: string;
  /** Start this far back. Needs the right to read history. */
  rewind?: Rewind;
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
  /** Sends if connected; says whether it did. */
  send(kind: "subscribe" | "unsubscribe", body: object, settle: (answer: Answer) => void): boolean;
  backoff(): Backoff;
  after(milliseconds: number, run: () => void): () => void;
  gap(gap: Gap): unknown;
  error(error: FanfareError): void;
  /** The subscription is over; the client forgets it. */
  ended(subscription: Subscription): void;
}

interface Listener {
  readonly handler: Handler;
  readonly onGap: ((gap: Gap) => unknown) | undefined;
}

interface Waiter {
  readonly promise: Promise<Subscribed>;
  readonly resolve: (subscribed: Subscribed) => void;
  readonly reject: (error: FanfareError) => void;
}

/** Something for the handlers, or nothing but a step forward; `position` is kept when it is done. */
interface Entry {
  readonly message?: Message;
  readonly gap?: Gap;
  readonly position: string;
  readonly round: number;
}

const IDS_REMEMBERED = 10_000;
const HELD_MAX = 10_000;

/**
 * One channel on the wire, for all its handlers. What it wants outlives connections: it is subscribed again on each
 * new one, from the position after the last message whose handlers returned, and what comes twice is dropped.
 */
export class Subscription {
  readonly channel: string;
  readonly #port: Port;
  readonly #listeners: Listener[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #seen = new RecentIds(IDS_REMEMBERED);
  readonly #backoff: Backoff;
  #phase: "wanted" | "asked" | "live" | "full" | "ended" = "wanted";
  #cancelRetry: () => void = () => {};
  #start: { position?: string; rewind?: Rewind };
  #lineage = "";
  #seq = 0;
  #handled: string | undefined;
  #resume: string | undefined;
  /** Counts the server's answers to subscribe; a gap makes what is held from before it no place to resume from. */
  #round = 0;
  #resumeRound = 0;
  #recovered: boolean | undefined;
  #held: Entry[] = [];
  #busy = false;

  constructor(port: Port, channel: string, start: { position?: string; rewind?: Rewind }) {
    this.#port = port;
    this.channel = channel;
    this.#start = start;
    this.#resume = start.position;
    this.#backoff = port.backoff();
  }

  /** The position after the last message whose handlers returned. */
  get position(): string | undefined {
    return this.#handled;
  }

  listen(handler: Handler, onGap: ((gap: Gap) => unknown) | undefined): Promise<Subscribed> {
    this.#listeners.push({ handler, onGap });
    if (this.#phase === "live") return Promise.resolve(this.#subscribed());
    const { promise, resolve, reject } = deferred<Subscribed>();
    this.#waiters.push({ promise, resolve, reject });
    return promise;
  }

  /** Takes the handler away; says whether none is left. */
  forget(handler: Handler | undefined): boolean {
    const keep = handler === undefined ? [] : this.#listeners.filter((listener) => listener.handler !== handler);
    this.#listeners.splice(0, Infinity, ...keep);
    return keep.length === 0;
  }

  /** A connection is there. */
  attach(): void {
    if (this.#phase !== "wanted") return;
    const body = {
      channel: this.channel,
      ...(this.#resume !== undefined ? { position: this.#resume } : { rewind: this.#start.rewind }),
    };
    const sent = this.#port.send("subscribe", body, (answer) => this.#answered(answer));
    if (sent) this.#phase = "asked";
  }

  /** The connection is gone. */
  detach(): void {
    this.#cancelRetry();
    if (this.#phase !== "ended" && this.#phase !== "full") this.#phase = "wanted";
  }

  onMessage(wire: WireMessage): void {
    if (this.#phase !== "live" || wire.seq <= this.#seq) return;
    if (this.#held.length >= HELD_MAX) return this.#overflow();
    this.#seq = wire.seq;
    const message = readMessage(wire, this.channel, this.#lineage);
    const entry = { position: message.position, round: this.#round };
    this.#hold(this.#seen.add(message.id) ? { ...entry, message } : entry);
  }

  onRecovery(push: WireRecovery): void {
    if (this.#phase === "live") this.#continueFrom(push);
  }

  onUnsubscribed(error: FanfareError): void {
    if (this.#phase === "ended") return;
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
    this.#held = [];
    this.#listeners.length = 0;
    this.#port.ended(this);
    const why = refusal ?? clientError("closed", `unsubscribed from ${this.channel}`, { channel: this.channel });
    for (const { promise, reject } of this.#waiters.splice(0)) {
      // Who unsubscribes knows it: a promise that nobody looked at is no news, as a refusal would be.
      if (refusal === undefined) promise.catch(() => {});
      reject(why);
    }
    const told = refusal === undefined && asked && this.#port.send("unsubscribe", { channel: this.channel }, done);
    if (!told) done();
  }

  #answered({ ok, error }: Answer): void {
    if (this.#phase !== "asked") return;
    if (error !== undefined) {
      this.#phase = "wanted";
      return this.#refused(error);
    }
    this.#phase = "live";
    this.#backoff.reset();
    this.#start = {};
    const subscribed = ok as SubscribedOk;
    this.#recovered = subscribed.recovered;
    this.#continueFrom(subscribed);
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(this.#subscribed());
  }

  #subscribed(): Subscribed {
    return { position: `${this.#lineage}.${this.#seq}`, recovered: this.#recovered };
  }

  /** The server says from where on everything arrives, and whether something before that is lost. */
  #continueFrom(start: SubscribedOk | WireRecovery): void {
    this.#round += 1;
    this.#lineage = start.lineage;
    this.#seq = start.seq;
    const position = `${start.lineage}.${start.seq}`;
    const entry = { position, round: this.#round };
    if (start.recovered !== false) return this.#hold(entry);
    // What is held from before the gap is handled still, but resuming there would only tell of the gap again.
    this.#resume = position;
    this.#resumeRound = this.#round;
    const gap = { channel: this.channel, reason: start.reason ?? "", from: start.from, to: start.to };
    this.#hold({ ...entry, gap });
  }

  #refused(error: FanfareError): void {
    if (error.retryable) {
      const wait = this.#backoff.next(error.retryAfterMs);
      this.#cancelRetry = this.#port.after(wait, () => this.attach());
      return;
    }
    // Who waits for `subscribe` is told by its promise; a subscription lost later has no promise left to tell.
    if (this.#waiters.length === 0) this.#port.error(error);
    this.end(error);
  }

  #hold(entry: Entry): void {
    this.#held.push(entry);
    this.#drain();
  }

  #drain(): void {
    if (this.#busy) return;
    this.#busy = true;
    let entry: Entry | undefined;
    while ((entry = this.#held.shift()) !== undefined) {
      const current = entry;
      const waits = this.#run(current);
      if (waits.length === 0) {
        this.#keep(current, true);
        continue;
      }
      void Promise.all(waits).then((done) => {
        this.#busy = false;
        this.#keep(current, done.every(Boolean));
        this.#drain();
      });
      return;
    }
    this.#busy = false;
    if (this.#phase === "full") {
      this.#phase = "wanted";
      this.attach();
    }
  }

  /** Calls the handlers; what is left to wait for says whether it went well. */
  #run({ message, gap }: Entry): Promise<boolean>[] {
    const waits: Promise<boolean>[] = [];
    const call = (run: () => unknown) => {
      try {
        const result = run();
        if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
          waits.push(Promise.resolve(result).then(() => true, (cause) => this.#failed(cause)));
        }
      } catch (cause) {
        waits.push(Promise.resolve(this.#failed(cause)));
      }
    };
    if (gap !== undefined) {
      const told = this.#listeners.filter((listener) => listener.onGap !== undefined);
      for (const listener of told) call(() => listener.onGap?.(gap));
      if (told.length === 0) call(() => this.#port.gap(gap));
    }
    if (message !== undefined) for (const { handler } of [...this.#listeners]) call(() => handler(message));
    return waits;
  }

  #failed(cause: unknown): false {
    const detail = `a handler of ${this.channel} failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    this.#port.error(clientError("handler_failed", detail, { channel: this.channel, cause }));
    return false;
  }

  /** Keeps the position of what is done. After a failed handler it stays, and the message may come once more. */
  #keep(entry: Entry, well: boolean): void {
    if (!well) {
      if (entry.message !== undefined) this.#seen.delete(entry.message.id);
      return;
    }
    this.#handled = entry.position;
    if (entry.round >= this.#resumeRound) this.#resume = entry.position;
  }

  /** Handlers are too slow: stop the flow, and fetch the rest from history once they are through. */
  #overflow(): void {
    this.#phase = "full";
    this.#port.send("unsubscribe", { channel: this.channel }, () => {});
  }
}
