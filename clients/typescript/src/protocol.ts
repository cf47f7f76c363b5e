/**
 * The native protocol v1 as JSON: what goes over the wire, and nothing else. The specification is
 * `server/protocol/src/native/PROTOCOL.md`.
 */
import type { Problem } from "./errors.js";

export const SUBPROTOCOL = "fanfare.v1.json";

export type CommandKind = "connect" | "refresh" | "subscribe" | "unsubscribe" | "publish" | "presence" | "history" | "ping";

/** `max` a second, `burst` at once after a quiet time. */
export interface Rate {
  max: number;
  burst: number;
}

/** What the app lets one client do, as the server tells it. */
export interface Limits {
  readonly message_bytes?: number;
  readonly subscriptions?: number;
  readonly publish_connection?: Rate;
  readonly publish_channel?: Rate;
  readonly command_rate?: Rate;
}

/** The answer to connect. */
export interface Hello {
  connection: string;
  user?: string;
  heartbeat_ms: number;
  expires_ms?: number;
  limits?: Limits;
  /** A ticket that lets the next connection continue this one. */
  resume?: string;
  /** Whether it did, when a ticket was sent. */
  resumed?: boolean;
}

/** The answer to refresh. */
export interface RefreshedOk {
  expires_ms?: number;
  resume?: string;
}

/** What the server finds worth telling: `token_expiring`, `limit_near`. */
export interface Notice {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** The answer to subscribe: everything after `<lineage>.<seq>` arrives. */
export interface SubscribedOk {
  channel: string;
  lineage: string;
  seq: number;
  recovered?: boolean;
  reason?: string;
  from?: string;
  to?: string;
  /** When the subscription's own token ends. */
  expires_ms?: number;
}

/** A message, pushed or from history. */
export interface WireMessage {
  channel?: string;
  seq: number;
  id: string;
  name?: string;
  data: unknown;
  encoding?: "base64";
  key?: string;
  headers?: Record<string, string>;
  publisher?: string;
  time: number;
}

/** A break in a live subscription: everything after `<lineage>.<seq>` arrives. */
export interface WireRecovery {
  channel: string;
  recovered: boolean;
  reason?: string;
  from?: string;
  to?: string;
  lineage: string;
  seq: number;
}

/** Somebody present, or in `left` somebody who was. */
export interface WireMember {
  connection?: string;
  user?: string;
  info?: unknown;
  data?: unknown;
  since?: number;
}

/** A page of members, or, with `from`, what changed since. Without either the channel is crowded, and only counted. */
export interface WirePresence {
  channel: string;
  version: number;
  count: number;
  members?: WireMember[];
  next?: string;
  from?: number;
  entered?: WireMember[];
  updated?: WireMember[];
  left?: WireMember[];
}

/** Who joined and left, for subscriptions that did not ask for presence. Without either list some did who are not named. */
export interface WireJoinLeave {
  channel: string;
  version: number;
  count: number;
  from?: number;
  joined?: WireMember[];
  left?: WireMember[];
}

/** How many are on a channel whose settings have that told. */
export interface Occupancy {
  readonly channel: string;
  readonly subscribers: number;
  readonly members: number;
  /** The version of the channel's presence that has so many members. */
  readonly version: number;
}

/** One frame from the server; fields and pushes that this version does not know are ignored. */
export interface Inbound {
  id?: number;
  ok?: unknown;
  error?: Problem;
  msg?: WireMessage & { channel: string };
  recovery?: WireRecovery;
  unsubscribed?: { channel: string; error: Problem };
  subscribed?: { channel: string; lineage: string; seq: number };
  reconnect?: { after_ms: number };
  notice?: Notice;
  gap?: { channel: string; from: string; to: string; dropped: number };
  presence?: WirePresence;
  join_leave?: WireJoinLeave;
  occupancy?: Occupancy;
  presence_ended?: { channel: string; what: "membership" | "updates"; error: Problem };
}

/** `body` is JSON already, so that a command waiting for a connection is weighed and written once. */
export function encode(id: number, kind: CommandKind, body: string): string {
  return `{"id":${id},"${kind}":${body}}`;
}

/** Reads one frame; `undefined` when it is none of ours. */
export function decode(frame: unknown): Inbound | undefined {
  if (typeof frame !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(frame);
    return typeof value === "object" && value !== null ? (value as Inbound) : undefined;
  } catch {
    return undefined;
  }
}
