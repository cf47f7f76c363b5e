/** Codes that the server tells; every one has a page in the dashboard at `/errors/<code>`. */
export type ServerErrorCode =
  | "invalid_request"
  | "invalid_json"
  | "invalid_channel"
  | "invalid_position"
  | "unknown_command"
  | "message_too_large"
  | "not_found"
  | "forbidden"
  | "origin_denied"
  | "tenant_suspended"
  | "already_subscribed"
  | "not_subscribed"
  | "id_reused"
  | "not_present"
  | "presence_off"
  | "superseded"
  | "connect_first"
  | "protocol_error"
  | "rate_limited"
  | "limit_reached"
  | "slow_consumer"
  | "overloaded"
  | "storage_unavailable"
  | "outcome_unknown"
  | "not_replicated"
  | "try_again"
  | "internal"
  | "moving"
  | "heartbeat_timeout"
  | "connect_timeout"
  | "disconnected"
  | "token_missing"
  | "token_invalid"
  | "token_expired"
  | "token_revoked"
  | "resume_invalid";

/** Codes of the client itself. */
export type ClientErrorCode =
  | "closed"
  | "connection_lost"
  | "handler_failed"
  | "invalid_url"
  | "no_websocket"
  | "queue_full"
  | "token_failed";

/** What programs compare. Servers may know codes that this version does not. */
export type ErrorCode = ServerErrorCode | ClientErrorCode | (string & {});

/** An error as the server tells it, less what the class says itself. */
export interface Problem {
  code: string;
  detail: string;
  retryable?: boolean;
  retry_after_ms?: number;
  limit?: string;
  layer?: string;
  rule?: string;
  request_id?: string;
  errors?: { pointer: string; detail: string }[];
}

/** What to do after an error. */
export type Retry = "never" | "backoff" | "now" | "token";

/** Every error of this client: `code` is the contract, `message` helps people. */
export class FanfareError extends Error {
  override readonly name = "FanfareError";
  readonly code: ErrorCode;
  /** Whether the same again may succeed later. */
  readonly retryable: boolean;
  /** How long to wait before, when the server said so. */
  readonly retryAfterMs: number | undefined;
  /** The limit that was reached. */
  readonly limit: string | undefined;
  /** The layer of permissions that refused, and the ACL rule if it was one. */
  readonly layer: string | undefined;
  readonly rule: string | undefined;
  /** The request, as found in the server's logs. */
  readonly requestId: string | undefined;
  /** Every wrong place of the command, by JSON pointer. */
  readonly errors: readonly { pointer: string; detail: string }[];
  /** The channel it is about, where it is about one. */
  readonly channel: string | undefined;
  /** The WebSocket close number, when a connection ended with it. */
  readonly closeCode: number | undefined;

  constructor(problem: Problem, more: { channel?: string; closeCode?: number; cause?: unknown } = {}) {
    super(problem.detail, "cause" in more ? { cause: more.cause } : undefined);
    this.code = problem.code;
    this.retryable = problem.retryable ?? false;
    this.retryAfterMs = problem.retry_after_ms;
    this.limit = problem.limit;
    this.layer = problem.layer;
    this.rule = problem.rule;
    this.requestId = problem.request_id;
    this.errors = problem.errors ?? [];
    this.channel = more.channel;
    this.closeCode = more.closeCode;
  }

  /** What to do about a connection that ended with it: the close number's hundred says, else the code. */
  get retry(): Retry {
    const number = this.closeCode ?? 0;
    if (number >= 4000 && number < 4100) return "never";
    if (number >= 4200 && number < 4300) return "now";
    if (number >= 4400 && number < 4500) return "token";
    if (this.code.startsWith("token_")) return "token";
    return this.retryable || number > 0 ? "backoff" : "never";
  }
}

/** An error that the client finds by itself. */
export function clientError(
  code: ErrorCode,
  detail: string,
  more: { retryable?: boolean; channel?: string; cause?: unknown } = {},
): FanfareError {
  return new FanfareError({ code, detail, retryable: more.retryable ?? false }, more);
}

/** The error behind a close frame: Fanfare puts the code's slug into the reason. */
export function closeError(number: number, reason: string): FanfareError {
  const ours = number >= 4000 && number < 4500 && reason !== "";
  return new FanfareError(
    {
      code: ours ? reason : "connection_lost",
      detail: ours
        ? `the server closed the connection: ${reason} (${number})`
        : `the connection was lost (${number}${reason === "" ? "" : `, ${reason}`})`,
      retryable: number < 4000 || number >= 4100,
    },
    { closeCode: number },
  );
}
