import type { Clock } from "./clock.js";
import { clientError, type FanfareError } from "./errors.js";

/** A token, or what gets one: called at every connect and in good time before the last one expires. */
export type TokenSource = string | (() => string | Promise<string>);

/** A provider that takes longer than this is given up. */
const PROVIDER_MS_MAX = 30_000;
/** A live token is renewed this long before its end, or in the last fifth of its life if that is shorter. */
const AHEAD_MS_MAX = 60_000;
const AHEAD_SHARE = 0.2;
const RENEW_MS_MIN = 1_000;

/** Asks the source; `undefined` where there is none. Every failure is a `token_failed`. */
export async function getToken(source: TokenSource | undefined, clock: Clock): Promise<string | undefined> {
  if (typeof source !== "function") return source;
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
