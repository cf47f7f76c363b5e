/** Time and chance as the client sees them: one seam, so that tests move time instead of waiting. */
export interface Clock {
  /** Unix milliseconds. They go on while the machine sleeps, which the platform's timers need not. */
  now(): number;
  /** Runs once after so many milliseconds; the answer calls it off. */
  after(milliseconds: number, run: () => void): () => void;
  /** A number from 0 to below 1. */
  random(): number;
}

/** A longer wait would wrap around and be over at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, run) {
    const timer = setTimeout(run, Math.min(milliseconds, TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
