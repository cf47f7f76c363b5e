import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { clientError, FanfareError } from "./errors.js";
import { type Command, Link } from "./link.js";
import type { Hello, Inbound, RefreshedOk } from "./protocol.js";
import { Renewal, ServerTime } from "./renewal.js";
import type { Tokens } from "./token.js";
import type { Transports } from "./transports.js";
import { onWake } from "./wake.js";

/**
 * `idle` before `connect()` where that is asked for, `connecting` at first, `connected`, `reconnecting` whenever the
 * connection is gone and will be sought again, `closed` after `close()`, `failed` when coming back unchanged would fail
 * again.
 */
export type State = "idle" | "connecting" | "connected" | "reconnecting" | "closed" | "failed";

export interface StateChange {
  readonly state: State;
  readonly previous: State;
  /** Why, when it was not asked for. */
  readonly reason: FanfareError | undefined;
  /** When `reconnecting`: in how many milliseconds the next attempt is made. */
  readonly retryInMs: number | undefined;
}

export interface SessionOptions {
  readonly address: string;
  readonly transports: Transports;
  readonly clock: Clock;
  readonly fetch: (url: string) => Promise<Pick<Response, "json">>;
  readonly tokens: Tokens;
  /** What goes out with every connect. */
  readonly first: () => Command[];
  readonly onState: (change: StateChange) => void;
  readonly onConnected: (link: Link, hello: Hello) => void;
  readonly onPush: (push: Inbound, size: number) => void;
  /** The page was away. */
  readonly onWake: () => void;
  /** A connection is gone, and these commands got no answer. */
  readonly onLost: (error: FanfareError, unanswered: readonly Command[]) => void;
  /** It is over: `closed` or `failed`. */
  readonly onEnd: (state: "closed" | "failed", error: FanfareError) => void;
  readonly onError: (error: FanfareError) => void;
}

/** A connection that lived so long was a good one: backoff starts over after it. */
const STABLE_MS = 5_000;
/** However often the platform says that the network is back, attempts are so far apart. */
const WAKE_MS_MIN = 1_000;
/** Whoever shares a network comes back at the same moment, and is spread over this time. */
const WAKE_SPREAD_MS = 200;

/** The wish to be connected: one link after another, until `close`, and what it takes to get the next one. */
export class Session {
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  readonly #renewal: Renewal;
  readonly time: ServerTime;
  #state: State = "idle";
  #link: Link | undefined;
  #hello: Hello | undefined;
  /** Continues the last connection on the next one. Kept in memory alone: it is as good as a token. */
  #ticket: string | undefined;
  /** The token that the ticket stands for, and that need not be said beside it. */
  #accepted: string | undefined;
  /** When the last connection was welcomed; 0 before the first. */
  #connectedAt = 0;
  /** The token changed while a connection with the old one was made. */
  #renewDue = false;
  #dialledAt = 0;
  /** When the next attempt is due, and before when the server does not want it. */
  #dialAt = Infinity;
  #notBefore = 0;
  /** Counts attempts, so that what belongs to an earlier one is known when it comes late. */
  #attempt = 0;
  #cancelTimer: () => void = () => {};
  #cancelWake: () => void = () => {};

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.clock);
    const { clock, tokens, onError } = options;
    const send = (command: Command) => this.send(command);
    this.time = new ServerTime(clock, send);
    const renewed = ({ resume }: RefreshedOk) => {
      this.#accepted = tokens.last;
      if (resume !== undefined) this.#ticket = resume;
    };
    this.#renewal = new Renewal({ clock, time: this.time, send, tokens, renewed, error: onError });
  }

  get state(): State {
    return this.#state;
  }

  /** What the server said of the live connection. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  /** Begins, or begins again. */
  open(): void {
    if (this.#state !== "idle" && this.#state !== "closed" && this.#state !== "failed") return;
    this.#backoff.reset();
    this.#cancelWake = onWake(() => this.#wake());
    this.#after(0);
    this.#enter("connecting");
  }

  close(): void {
    if (this.#state !== "closed") this.#stop("closed", clientError("closed", "the client was closed"));
  }

  /** Whether commands go out: behind connect, its answer need not be there. */
  get ready(): boolean {
    return this.#link?.open === true;
  }

  /** Sends if it can; says whether it did. */
  send(command: Command): boolean {
    if (!this.ready) return false;
    this.#link?.send(command);
    return true;
  }

  /** Gives the server a new token. Without a connection there is nothing to do: the next one gets it. */
  renew(): Promise<void> {
    if (this.#state === "connected") return this.#renewal.renew();
    this.#renewDue = this.#link !== undefined;
    return Promise.resolve();
  }

  /** The server says that the token in use ends. */
  expiring(expiresMs: number | undefined): void {
    this.#renewal.expiring(expiresMs);
  }

  /** The server asks to come back in a while, on a new connection. */
  moveIn(wait: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(wait, () => {
      const moving = { code: "moving", detail: "the server asked to reconnect", retryable: true };
      this.#lost(new FanfareError(moving, { closeCode: 4200 }), this.#link?.close() ?? []);
    });
  }

  #stop(state: "closed" | "failed", error: FanfareError): void {
    this.#cancelWake();
    const unanswered = this.#drop();
    this.#ticket = undefined;
    // Subscriptions first: to them it is an end, not a refusal.
    this.#options.onEnd(state, error);
    for (const command of unanswered) command.settle({ error });
    this.#enter(state, state === "failed" ? error : undefined);
  }

  /** Lets go of the link, and answers what it had not answered. */
  #drop(): Command[] {
    this.#attempt += 1;
    this.#cancelTimer();
    this.#renewal.stop();
    this.#options.transports.stop();
    this.time.reset();
    const unanswered = this.#link?.close() ?? [];
    this.#link = undefined;
    this.#hello = undefined;
    return unanswered;
  }

  #after(wait: number): void {
    const { clock } = this.#options;
    this.#dialAt = clock.now() + wait;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(wait, () => void this.#dial());
  }

  /** The page was away, or the network is another: what timers watch over is looked at now. */
  #wake(): void {
    if (this.#state === "connected") {
      this.#link?.check();
      this.#renewal.wake();
      this.#options.onWake();
    } else if (this.#state === "reconnecting" && this.#dialAt !== Infinity) {
      const { clock } = this.#options;
      const soon = clock.now() + Math.floor(clock.random() * WAKE_SPREAD_MS);
      const at = Math.max(soon, this.#dialledAt + WAKE_MS_MIN, this.#notBefore);
      if (at < this.#dialAt) this.#after(at - clock.now());
    }
  }

  async #dial(): Promise<void> {
    const { clock, tokens, onPush, transports, address, first } = this.#options;
    const attempt = ++this.#attempt;
    this.#dialledAt = clock.now();
    this.#dialAt = Infinity;
    this.#renewDue = false;
    let token: string | undefined;
    try {
      token = await tokens.current();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#options.onError(error as FanfareError);
      if (attempt === this.#attempt) this.#lost(error as FanfareError, []);
      return;
    }
    if (attempt !== this.#attempt) return;
    const resume = this.#ticket;
    const known = resume !== undefined && token === this.#accepted;
    this.#link = new Link({
      Socket: transports.current.Socket,
      address,
      clock,
      opening: { token: known ? undefined : token, resume },
      first,
      onHello: (hello) => {
        this.#accepted = token;
        this.#connected(hello);
      },
      onPush,
      onLost: (error, unanswered) => this.#lost(error, unanswered),
    });
  }

  #connected(hello: Hello): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#hello = hello;
    this.#ticket = hello.resume;
    this.#connectedAt = this.#options.clock.now();
    this.#options.transports.welcomed(this.#options.address, () => this.moveIn(0));
    this.#enter("connected");
    // A listener may have closed it.
    if (this.#link !== link) return;
    this.#renewal.start(hello.expires_ms);
    if (this.#renewDue) this.#renewal.renewSoon();
    this.#options.onConnected(link, hello);
  }

  #lost(error: FanfareError, unanswered: Command[]): void {
    const { clock, tokens, transports } = this.#options;
    const wasConnected = this.#state === "connected";
    this.#drop();
    if (!wasConnected) transports.failed(error);
    if (wasConnected && clock.now() - this.#connectedAt >= STABLE_MS) this.#backoff.reset();
    const { retry } = error;
    // A ticket that does not hold is let go; without it nothing is wrong.
    const stale = error.code === "resume_invalid" && this.#ticket !== undefined;
    if (stale || retry === "never") this.#ticket = undefined;
    if (retry === "token") tokens.forget();
    this.#options.onLost(error, unanswered);
    if (!stale && (retry === "never" || (retry === "token" && !tokens.renewable))) return this.#stop("failed", error);
    // What only needs a new token is tried at once; a second time in a row it waits like the rest.
    const soon = stale || (retry === "token" && this.#backoff.fresh);
    const wait = this.#backoff.next(error.retryAfterMs);
    const retryInMs = soon ? (error.retryAfterMs ?? 0) : wait;
    this.#notBefore = clock.now() + (error.retryAfterMs ?? 0);
    this.#after(retryInMs);
    this.#enter("reconnecting", error, retryInMs);
    if (this.#connectedAt === 0 && error.closeCode === 1006) void this.#askWhy();
  }

  /** WebSockets do not say why a handshake was refused. For an app that is not there, the same URL says it to `fetch`. */
  async #askWhy(): Promise<void> {
    const problem = await this.#options
      .fetch(this.#options.address.replace(/^ws/, "http"))
      .then((answer) => answer.json())
      .catch(() => undefined);
    if (problem?.code === "not_found" && this.#state === "reconnecting" && this.#connectedAt === 0) {
      this.#stop("failed", new FanfareError(problem));
    }
  }

  #enter(state: State, reason?: FanfareError, retryInMs?: number): void {
    const previous = this.#state;
    this.#state = state;
    this.#options.onState({ state, previous, reason, retryInMs });
  }
}
