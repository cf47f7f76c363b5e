import type { Clock } from "./clock.js";
import { clientError, type FanfareError } from "./errors.js";

/** A token, or what gets one: called when one is needed and in good time before the last one expires. */
export type TokenSource = string | (() => string | Promise<string>);

/** A provider that takes longer than this is given up. */
const PROVIDER_MS_MAX = 30_000;
/** A live token is renewed this long before its end, or in the last fifth of its life if that is shorter. */
const AHEAD_MS_MAX = 60_000;
const AHEAD_SHARE = 0.2;
const RENEW_MS_MIN = 1_000;

/**
 * The token in use and where the next one comes from. The provider runs once at a time, whoever asks, and not at all
 * while the last token has good time left: a thousand clients that come back together do not all ask their backend.
 */
export class Tokens {
  #source: TokenSource | undefined;
  readonly #clock: Clock;
  #last: string | undefined;
  #goodUntil = 0;
  #given: string | undefined;
  #asking: Promise<string | undefined> | undefined;

  constructor(source: TokenSource | undefined, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Whether another token can be had. */
  get renewable(): boolean {
    return typeof this.#source === "function";
  }

  /** The last one that was given or got. */
  get last(): string | undefined {
    return typeof this.#source === "string" ? this.#source : this.#last;
  }

  /** A token to connect with: the last one while it is good. */
  current(): Promise<string | undefined> {
    const good = this.#last !== undefined && this.#clock.now() < this.#goodUntil;
    return good ? Promise.resolve(this.#last) : this.fresh();
  }

  /** The last one, if it is good, without asking anybody. */
  get atHand(): string | undefined {
    if (typeof this.#source === "string") return this.#source;
    return this.#clock.now() < this.#goodUntil ? this.#last : undefined;
  }

  /** A new one. Every failure is a `token_failed`. */
  fresh(): Promise<string | undefined> {
    if (typeof this.#source !== "function") return Promise.resolve(this.#source);
    if (this.#given !== undefined) {
      this.#last = this.#given;
      this.#given = undefined;
      return Promise.resolve(this.#last);
    }
    const asking = (this.#asking ??= ask(this.#source, this.#clock).then(
      (token) => {
        if (this.#asking !== asking) return token;
        this.#asking = undefined;
        this.#last = token;
        return token;
      },
      (error: FanfareError) => {
        if (this.#asking === asking) this.#asking = undefined;
        throw error;
      },
    ));
    return asking;
  }

  /** The last token serves until then, by our clock. */
  keep(until: number): void {
    this.#goodUntil = until;
  }

  /** The last token serves no more. What a provider is getting just now may be of no use either. */
  forget(): void {
    this.#goodUntil = 0;
    this.#asking = undefined;
  }

  /** Uses this one next. */
  give(token: string): void {
    this.forget();
    if (typeof this.#source === "function") this.#given = token;
    else this.#source = token;
  }
}

async function ask(source: () => string | Promise<string>, clock: Clock): Promise<string> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(PROVIDER_MS_MAX, () => reject(tokenFailed("it took too long")));
  });
  try {
    const token = await Promise.race([Promise.resolve().then(source), late]);
    if (typeof token !== "string" || token.trim() === "") throw tokenFailed("it gave no text");
    return token.trim();
  } catch (cause) {
    throw (cause as FanfareError)?.code === "token_failed"
      ? cause
      : tokenFailed(cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    cancel();
  }
}

function tokenFailed(why: string, cause?: unknown): FanfareError {
  return clientError("token_failed", `the token provider failed: ${why}`, { retryable: true, cause });
}

/** How long to wait before a token that lives so much longer is renewed. */
export function renewAfter(leftMs: number): number {
  return Math.max(RENEW_MS_MIN, leftMs - Math.min(AHEAD_MS_MAX, leftMs * AHEAD_SHARE));
}
