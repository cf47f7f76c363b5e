import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import type { FanfareError } from "./errors.js";
import type { Answer } from "./link.js";
import { renewAfter } from "./token.js";

export interface RenewalOptions {
  readonly clock: Clock;
  /** Sends if connected; says whether it did. */
  readonly send: (kind: "refresh" | "ping", body: string, settle: (answer: Answer) => void) => boolean;
  readonly token: () => Promise<string | undefined>;
  readonly error: (error: FanfareError) => void;
}

/** Renews the token of a live connection in good time, by the server's clock. */
export class Renewal {
  readonly #options: RenewalOptions;
  readonly #backoff: Backoff;
  #cancelTimer: () => void = () => {};
  /** Counts connections, so that what belongs to an earlier one is known when it comes late. */
  #round = 0;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.clock);
  }

  /** The token ends then, in Unix milliseconds of the server. */
  start(expiresMs: number | undefined): void {
    this.stop();
    if (expiresMs === undefined) return;
    const { clock, send } = this.#options;
    const asked = clock.now();
    // The two clocks may differ by more than a token lives, so the server's is asked for.
    send("ping", "{}", ({ ok }) => {
      if (ok === undefined) return;
      const serverNow = (ok as { time: number }).time + (clock.now() - asked) / 2;
      this.#in(renewAfter(expiresMs - serverNow));
    });
  }

  stop(): void {
    this.#round += 1;
    this.#cancelTimer();
  }

  #in(wait: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(wait, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const round = this.#round;
    try {
      const token = await this.#options.token();
      if (round !== this.#round) return;
      this.#options.send("refresh", JSON.stringify({ token }), ({ ok, error }) => {
        if (round !== this.#round) return;
        if (error !== undefined) return this.#failed(error);
        this.#backoff.reset();
        this.start((ok as { expires_ms?: number }).expires_ms);
      });
    } catch (error) {
      if (round === this.#round) this.#failed(error as FanfareError);
    }
  }

  /** Tried again, waiting longer each time; at the end of the old token the server closes, and connecting asks anew. */
  #failed(error: FanfareError): void {
    this.#options.error(error);
    this.#in(this.#backoff.next(Math.max(1_000, error.retryAfterMs ?? 0)));
  }
}
