import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { clientError, type FanfareError } from "./errors.js";
import type { Answer } from "./link.js";
import { renewAfter, type Tokens } from "./token.js";

export interface RenewalOptions {
  readonly clock: Clock;
  /** Sends if connected; says whether it did. */
  readonly send: (kind: "refresh" | "ping", body: string, settle: (answer: Answer) => void) => boolean;
  readonly tokens: Tokens;
  readonly error: (error: FanfareError) => void;
}

/** Renews the token of a live connection in good time, by the server's clock. */
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

  /** A connection uses a token that ends then, in Unix milliseconds of the server. */
  start(expiresMs: number | undefined): void {
    this.stop();
    const { clock, send, tokens } = this.#options;
    if (expiresMs === undefined || !tokens.renewable) return;
    this.#expiresMs = expiresMs;
    const round = this.#round;
    const asked = clock.now();
    // The two clocks may differ by more than a token lives, so the server's is asked for.
    send("ping", "{}", ({ ok }) => {
      if (ok === undefined || round !== this.#round) return;
      const serverNow = (ok as { time: number }).time + (clock.now() - asked) / 2;
      const wait = renewAfter(expiresMs - serverNow);
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
    const { tokens, send } = this.#options;
    const round = this.#round;
    const token = await tokens.fresh();
    if (round !== this.#round) throw lost();
    const expiresMs = await new Promise<number | undefined>((resolve, reject) => {
      const settle = ({ ok, error }: Answer) =>
        error === undefined ? resolve((ok as { expires_ms?: number }).expires_ms) : reject(error);
      if (!send("refresh", JSON.stringify({ token }), settle)) reject(lost());
    });
    if (round !== this.#round) throw lost();
    this.#backoff.reset();
    this.start(expiresMs);
  }
}

function lost(): FanfareError {
  return clientError("connection_lost", "the connection was lost before the token was renewed", { retryable: true });
}
