import type { WireMessage } from "./protocol.js";

/** A message as handlers get it. */
export interface Message<T = unknown> {
  readonly channel: string;
  readonly id: string;
  readonly name: string | undefined;
  /** What was published: a JSON value, or a `Uint8Array` when bytes were. */
  readonly data: T;
  readonly key: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The `sub` of the client that published it; absent from backends and anonymous clients. */
  readonly publisher: string | undefined;
  /** When it was appended, Unix milliseconds. */
  readonly time: number;
  /** Where it stands in its channel: pass it to `subscribe` or `history` later. */
  readonly position: string;
}

/** What is published. */
export interface Draft {
  data: unknown;
  name?: string;
  /** Makes a repeat of the same publish harmless; one is made when it is missing. */
  id?: string;
  /** Where a channel conflates, a message replaces the one before with the same key. */
  key?: string;
  headers?: Record<string, string>;
  /** A connection that shall not receive it, such as one's own: `ff.connection`. */
  exclude?: string;
}

export function readMessage(wire: WireMessage, channel: string, lineage: string): Message {
  return {
    channel,
    id: wire.id,
    name: wire.name,
    data: wire.encoding === "base64" ? fromBase64(String(wire.data)) : wire.data,
    key: wire.key,
    headers: wire.headers ?? {},
    publisher: wire.publisher,
    time: wire.time,
    position: `${lineage}.${wire.seq}`,
  };
}

/** The body of a publish command. Bytes become base64; an absent payload is `null`. */
export function writeDraft(channel: string, draft: Draft): string {
  const { data, ...rest } = draft;
  const bytes = asBytes(data);
  const payload = bytes === undefined ? { data: data ?? null } : { data: toBase64(bytes), encoding: "base64" };
  return JSON.stringify({ channel, ...rest, id: draft.id ?? newId(), ...payload });
}

function asBytes(data: unknown): Uint8Array | undefined {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return undefined;
}

/** 120 random bits. `crypto.randomUUID` is missing on pages served by plain http; this is not. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_");
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  // In pieces: arguments of a call are bounded by the stack.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
