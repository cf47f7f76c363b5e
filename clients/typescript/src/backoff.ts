import type { Clock } from "./clock.js";

const FIRST_MS = 200;
const LONGEST_MS = 20_000;

/**
 * Full-jitter exponential backoff: the n-th wait is anywhere between 0 and `200 ms × 2ⁿ`, at most 20 s. The whole
 * range is drawn from, so that clients that were cut off together do not come back together.
 */
export class Backoff {
  #attempt = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether nothing has failed since the last reset. */
  get fresh(): boolean {
    return this.#attempt === 0;
  }

  /** The next wait, never shorter than the server asked for. */
  next(atLeastMs = 0): number {
    const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 30);
    return atLeastMs + Math.floor(this.#clock.random() * ceiling);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
