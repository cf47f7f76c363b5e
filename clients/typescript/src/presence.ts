import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { type Deferred, deferred } from "./deferred.js";
import { clientError, FanfareError } from "./errors.js";
import type { Answer, Command } from "./link.js";
import type { WirePresence } from "./protocol.js";
import { type PresenceEvent, Roster } from "./roster.js";

export type PresenceHandler<T = unknown> = (event: PresenceEvent<T>) => unknown;

/** What presence needs of its client. */
export interface PresencePort {
  readonly clock: Clock;
  /** Whether commands go out. */
  ready(): boolean;
  send(command: Command): boolean;
  /** Whether the channel's subscription is to bring presence. */
  watch(wanted: boolean): void;
  error(error: FanfareError): void;
  /** Nobody is interested any more: the client forgets it. */
  idle(): void;
}

interface Listener {
  readonly handler: PresenceHandler;
  readonly onSync: (() => unknown) | undefined;
}

/**
 * Presence on one channel: whether this client is a member, which outlives connections, and who the others are, where
 * anybody listens.
 */
export class Presence {
  readonly channel: string;
  readonly roster: Roster;
  readonly #port: PresencePort;
  readonly #backoff: Backoff;
  #listeners: Listener[] = [];
  /** What this client wants to be: a member with this body, or, once it was one, gone. */
  #wanted: "nothing" | "in" | "out" = "nothing";
  #data = "";
  #waiters: Deferred<void>[] = [];
  /** Counts what is sent, so that only the answer to the last of it counts. */
  #sent = 0;
  /** Counts connections. One that is gone is followed by one that tells everything anew. */
  #links = 0;
  #cancelAsk: () => void = () => {};
  #cancelRetry: () => void = () => {};

  constructor(port: PresencePort, channel: string) {
    this.#port = port;
    this.channel = channel;
    this.#backoff = new Backoff(port.clock);
    this.roster = new Roster(
      (event) => {
        for (const { handler } of [...this.#listeners]) this.#call(() => handler(event));
      },
      (after) => this.#askPage(after),
    );
  }

  /** Whether this client is, or is about to be, a member. */
  get entered(): boolean {
    return this.#wanted === "in";
  }

  enter(data: unknown): Promise<void> {
    try {
      this.#data = data === undefined ? "" : `,"data":${JSON.stringify(data) ?? "null"}`;
    } catch (cause) {
      const detail = `the data is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`;
      return Promise.reject(clientError("invalid_request", detail, { channel: this.channel, cause }));
    }
    return this.#want("in");
  }

  leave(): Promise<void> {
    return this.#wanted === "nothing" ? Promise.resolve() : this.#want("out");
  }

  listen(handler: PresenceHandler, onSync: (() => unknown) | undefined): void {
    this.#listeners.push({ handler, onSync });
    if (this.roster.known) {
      for (const member of this.roster.members) this.#call(() => handler({ action: "present", member }));
      if (onSync !== undefined) this.#call(onSync);
    }
    this.#port.watch(true);
  }

  forget(handler: PresenceHandler | undefined): void {
    this.#listeners = handler === undefined ? [] : this.#listeners.filter((listener) => listener.handler !== handler);
    if (this.#listeners.length > 0) return;
    this.#port.watch(false);
    this.#rest();
  }

  /** What is to be said on a new connection, or when unsubscribing has taken the membership along. */
  open(): Command | undefined {
    this.#cancelRetry();
    if (this.#wanted === "nothing") return undefined;
    const { channel } = this;
    const sent = ++this.#sent;
    const [action, data] = this.#wanted === "in" ? ["enter", this.#data] : ["leave", ""];
    return {
      kind: "presence",
      body: `{"channel":${JSON.stringify(channel)},"action":"${action}"${data}}`,
      channel,
      settle: (answer) => {
        if (sent === this.#sent) this.#answered(answer);
      },
    };
  }

  /** Says it again, if it can be said. */
  attach(): void {
    const command = this.#port.ready() ? this.open() : undefined;
    if (command !== undefined) this.#port.send(command);
  }

  /** The connection is gone; what it was asked is asked again on the next. */
  detach(): void {
    this.#sent += 1;
    this.#links += 1;
    this.#cancelRetry();
    this.#cancelAsk();
    this.roster.restart();
  }

  onPush(push: WirePresence): void {
    this.roster.push(push);
    this.#synced();
  }

  /** The server has ended the membership, or does not tell who is there any more. */
  onEnded(what: "membership" | "updates", error: FanfareError): void {
    if (what === "membership") this.#wanted = "nothing";
    else {
      this.#port.watch(false);
      this.roster.clear();
    }
    this.#port.error(error);
    this.#rest();
  }

  /** The client is closed or failed. */
  end(error: FanfareError): void {
    this.detach();
    this.#listeners = [];
    this.#wanted = "nothing";
    this.#settle(error);
    this.#port.idle();
  }

  #want(wanted: "in" | "out"): Promise<void> {
    this.#wanted = wanted;
    const waiter = deferred<void>();
    this.#waiters.push(waiter);
    this.attach();
    return waiter.promise;
  }

  #answered({ error }: Answer): void {
    const leaving = this.#wanted === "out";
    if (error?.retryable) {
      this.#cancelRetry = this.#port.clock.after(this.#backoff.next(error.retryAfterMs), () => this.attach());
      return;
    }
    this.#backoff.reset();
    if (leaving || error !== undefined) this.#wanted = "nothing";
    // Who is not there any more has left.
    const refusal = leaving && error?.code === "not_present" ? undefined : error;
    if (refusal !== undefined && this.#waiters.length === 0) this.#port.error(refusal);
    this.#settle(refusal);
    this.#rest();
  }

  #settle(error: FanfareError | undefined): void {
    for (const { promise, resolve, reject } of this.#waiters.splice(0)) {
      if (error === undefined) resolve();
      else reject(error);
      if (error?.code === "closed") promise.catch(() => {});
    }
  }

  #askPage(after: string | undefined): void {
    const { channel } = this;
    const body = JSON.stringify({ channel, action: "get", after, limit: 1_000 });
    const links = this.#links;
    const settle = ({ ok, error }: Answer) => {
      if (links !== this.#links) return;
      if (error === undefined) {
        this.roster.page(ok as WirePresence, after);
        this.#synced();
      } else if (error.retryable) {
        const wait = this.#backoff.next(error.retryAfterMs);
        this.#cancelAsk = this.#port.clock.after(wait, () => this.#askPage(after));
      } else this.#port.error(error);
    };
    this.#port.send({ kind: "presence", body, channel, settle });
  }

  /** Tells those who listen that what they have heard is whole. */
  #synced(): void {
    if (!this.roster.known) return;
    for (const { onSync } of [...this.#listeners]) if (onSync !== undefined) this.#call(onSync);
  }

  #call(run: () => unknown): void {
    const failed = (cause: unknown) => {
      const detail = `a presence handler of ${this.channel} failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      this.#port.error(clientError("handler_failed", detail, { channel: this.channel, cause }));
    };
    try {
      const result = run();
      if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
        Promise.resolve(result).catch(failed);
      }
    } catch (cause) {
      failed(cause);
    }
  }

  #rest(): void {
    if (this.#wanted === "nothing" && this.#listeners.length === 0) this.#port.idle();
  }
}
