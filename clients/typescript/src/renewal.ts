import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { clientError, type FanfareError } from "./errors.js";
import type { Answer, Command } from "./link.js";
import type { RefreshedOk } from "./protocol.js";
import { renewAfter, type Tokens } from "./token.js";

/** The server's clock, which may differ from ours by more than a token lives: asked for once on a connection. */
export class ServerTime {
  readonly #clock: Clock;
  readonly #send: (command: Command) => boolean;
  #ahead: number | undefined;
  #waiting: ((now: number) => void)[] = [];

  constructor(clock: Clock, send: (command: Command) => boolean) {
    this.#clock = clock;
    this.#send = send;
  }

  /** Another connection, perhaps to another node. */
  reset(): void {
    this.#ahead = undefined;
    this.#waiting = [];
  }

  /** Calls back with the server's time in Unix milliseconds, or not at all if the connection is lost before. */
  ask(then: (now: number) => void): void {
    if (this.#ahead !== undefined) return then(this.#clock.now() + this.#ahead);
    const waiting = this.#waiting;
    if (waiting.push(then) > 1) return;
    const settle = ({ ok }: Answer) => {
      if (ok === undefined || waiting !== this.#waiting) return;
      const travelled = (this.#clock.now() - (ping.sentAt ?? 0)) / 2;
      this.#ahead = (ok as { time: number }).time + travelled - this.#clock.now();
      for (const run of waiting.splice(0)) run(this.#clock.now() + this.#ahead);
    };
    const ping: Command = { kind: "ping", body: "{}", settle };
    if (!this.#send(ping)) this.reset();
  }
}

export interface RenewalOptions {
  readonly clock: Clock;
  readonly time: ServerTime;
  /** Sends if it can; says whether it did. */
  readonly send: (command: Command) => boolean;
  readonly tokens: Tokens;
  /** The subscription whose token it is; without it, the connection's. */
  readonly channel?: string;
  /** The server has taken a new token. */
  readonly renewed?: (ok: RefreshedOk) => void;
  readonly error: (error: FanfareError) => void;
}

/** Renews a token in use in good time, by the server's clock. */
export class Renewal {
  readonly #options: RenewalOptions;
  readonly #backoff: Backoff;
  #cancelTimer: () => void = () => {};
  /** Counts connections, so that what belongs to an earlier one is known when it comes late. */
  #round = 0;
  /** The end of the token in use by the server's clock, and when it is to be renewed by ours. */
  #expiresMs = 0;
  #due = Infinity;
  #renewing: Promise<void> | undefined;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.clock);
  }

  /** The server uses a token that ends then, in its own Unix milliseconds. */
  start(expiresMs: number | undefined): void {
    this.stop();
    const { clock, time, tokens } = this.#options;
    if (expiresMs === undefined || !tokens.renewable) return;
    this.#expiresMs = expiresMs;
    const round = this.#round;
    time.ask((now) => {
      if (round !== this.#round) return;
      const wait = renewAfter(expiresMs - now);
      tokens.keep(clock.now() + wait);
      this.#in(wait);
    });
  }

  stop(): void {
    this.#round += 1;
    this.#due = Infinity;
    this.#renewing = undefined;
    this.#cancelTimer();
  }

  /** Time may have passed without the timer: what is due is done now. */
  wake(): void {
    if (this.#options.clock.now() >= this.#due) this.renewSoon();
  }

  /** The server says that a token ends soon; when that is an earlier one, it is renewed already. */
  expiring(expiresMs: number | undefined): void {
    if (!this.#options.tokens.renewable) return;
    if (expiresMs === undefined || expiresMs >= this.#expiresMs) this.renewSoon();
  }

  /** Gets a new token and gives it to the server; a second call while one runs waits for the same. */
  renew(): Promise<void> {
    const renewing = (this.#renewing ??= this.#renew().finally(() => {
      if (this.#renewing === renewing) this.#renewing = undefined;
    }));
    return renewing;
  }

  #in(wait: number): void {
    const { clock } = this.#options;
    this.#due = clock.now() + wait;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(wait, () => this.renewSoon());
  }

  /** A renewal that nobody waits for. Tried again, waiting longer each time; at the end of the old token the server closes, and connecting asks anew. */
  renewSoon(): void {
    const round = this.#round;
    this.#due = Infinity;
    this.renew().catch((error: FanfareError) => {
      if (round !== this.#round) return;
      this.#options.error(error);
      this.#in(this.#backoff.next(Math.max(1_000, error.retryAfterMs ?? 0)));
    });
  }

  async #renew(): Promise<void> {
    const { tokens, send, channel, renewed } = this.#options;
    const round = this.#round;
    const token = await tokens.fresh();
    if (round !== this.#round) throw lost();
    const refreshed = await new Promise<RefreshedOk>((resolve, reject) => {
      const settle = ({ ok, error }: Answer) => (error === undefined ? resolve(ok as RefreshedOk) : reject(error));
      if (!send({ kind: "refresh", body: JSON.stringify({ token, channel }), settle })) reject(lost());
    });
    if (round !== this.#round) throw lost();
    this.#backoff.reset();
    renewed?.(refreshed);
    this.start(refreshed.expires_ms);
  }
}

function lost(): FanfareError {
  return clientError("connection_lost", "the connection was lost before the token was renewed", { retryable: true });
}
