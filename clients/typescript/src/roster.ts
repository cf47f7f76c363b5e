import type { WireJoinLeave, WireMember, WirePresence } from "./protocol.js";

/** Somebody who is present. */
export interface Member<T = unknown> {
  /** The connection; absent for a user whom the app's backend has entered. */
  readonly connection: string | undefined;
  /** The `sub` of its token. */
  readonly user: string | undefined;
  /** What its token says of it in public. */
  readonly info: unknown;
  /** What it says of itself. */
  readonly data: T;
  /** When it entered, Unix milliseconds. */
  readonly since: number;
}

/** `present` tells who is there already when one begins to listen; the others tell changes, each once. */
export interface PresenceEvent<T = unknown> {
  readonly action: "present" | "enter" | "update" | "leave";
  readonly member: Member<T>;
}

/** Who joined a channel's presence and who left, where its settings have every subscriber told. */
export interface JoinLeave {
  readonly channel: string;
  /** The version of the channel's presence with these changes. */
  readonly version: number;
  /** How many members there are now. */
  readonly count: number;
  readonly joined: Member[];
  /** Of these only `connection` and `user` are known. */
  readonly left: Member[];
  /** Whether that is all: `false` where some came or went who are not named, being too many or missed. */
  readonly complete: boolean;
}

/** Reads a push. */
export function readJoinLeave({ channel, version, count, joined, left }: WireJoinLeave): JoinLeave {
  const complete = joined !== undefined || left !== undefined;
  return { channel, version, count, joined: (joined ?? []).map(read), left: (left ?? []).map(read), complete };
}

/** What the roster asks for: the members from the beginning, or the page after one. */
export type AskPage = (after: string | undefined) => void;

/**
 * Who is on a channel, as snapshots and diffs tell it. Every change is told once: a snapshot, also one after a lost
 * connection, is compared with what was known before.
 */
export class Roster {
  readonly #tell: (event: PresenceEvent) => void;
  readonly #ask: AskPage;
  #members = new Map<string, Member>();
  /** A snapshot whose further pages are on their way; diffs go into it. */
  #draft: Map<string, Member> | undefined;
  #version = -1;
  #count = 0;
  #crowded = false;
  #known = false;
  /** A snapshot was asked for, and diffs are of no use until it comes. */
  #asked = false;

  constructor(tell: (event: PresenceEvent) => void, ask: AskPage) {
    this.#tell = tell;
    this.#ask = ask;
  }

  /** Those present; nobody where the channel is crowded, or while nothing is known. */
  get members(): Member[] {
    return this.#crowded ? [] : [...this.#members.values()];
  }

  /** How many are present, also on a crowded channel. */
  get count(): number {
    return this.#count;
  }

  /** Whether there are more than are listed. */
  get crowded(): boolean {
    return this.#crowded;
  }

  /** Whether a whole snapshot has been seen. */
  get known(): boolean {
    return this.#known;
  }

  /** A snapshot follows: what was on its way before it is void. */
  restart(): void {
    this.#draft = undefined;
    this.#asked = false;
    this.#version = -1;
  }

  /** Nobody tells who is there any more. */
  clear(): void {
    this.restart();
    this.#members.clear();
    this.#count = 0;
    this.#known = this.#crowded = false;
  }

  /** A push: a snapshot where there is no `from`, else changes. */
  push(push: WirePresence): void {
    if (push.from === undefined) return this.page(push, undefined);
    if (push.version <= this.#version || this.#asked) return;
    if (push.from > this.#version) {
      this.#asked = true;
      this.#draft = undefined;
      return this.#ask(undefined);
    }
    this.#version = push.version;
    this.#count = push.count;
    const into = this.#draft ?? this.#members;
    const tell = this.#draft === undefined && !this.#crowded;
    for (const wire of [...(push.entered ?? []), ...(push.updated ?? [])]) {
      const member = read(wire);
      const known = into.get(keyOf(wire));
      into.set(keyOf(wire), member);
      if (tell) this.#compare(known, member);
    }
    for (const wire of push.left ?? []) {
      const member = into.get(keyOf(wire));
      into.delete(keyOf(wire));
      if (tell && member !== undefined) this.#tell({ action: "leave", member });
    }
  }

  /** Members from the beginning, or those after `after`. */
  page(page: WirePresence, after: string | undefined): void {
    if (after === undefined) {
      this.#asked = false;
      this.#version = page.version;
      this.#draft = page.members === undefined ? undefined : new Map();
      this.#crowded = page.members === undefined;
      this.#known = this.#known || this.#crowded;
    } else if (this.#draft === undefined) return;
    // Somebody may have left since it was made.
    else if (page.version < this.#version) return this.#ask(after);
    this.#count = page.count;
    if (this.#draft === undefined) return;
    for (const wire of page.members ?? []) this.#draft.set(keyOf(wire), read(wire));
    if (page.next === undefined) this.#complete(this.#draft);
    else this.#ask(page.next);
  }

  #complete(now: Map<string, Member>): void {
    const before = this.#members;
    const first = !this.#known;
    this.#draft = undefined;
    this.#members = now;
    this.#known = true;
    for (const [key, member] of before) if (!now.has(key)) this.#tell({ action: "leave", member });
    for (const [key, member] of now) {
      if (first) this.#tell({ action: "present", member });
      else this.#compare(before.get(key), member);
    }
  }

  #compare(before: Member | undefined, member: Member): void {
    if (before === undefined) this.#tell({ action: "enter", member });
    else if (JSON.stringify([before.data, before.info]) !== JSON.stringify([member.data, member.info])) {
      this.#tell({ action: "update", member });
    }
  }
}

export function read({ connection, user, info, data, since = 0 }: WireMember): Member {
  return { connection, user, info, data, since };
}

function keyOf({ connection, user }: WireMember): string {
  return connection ?? `user ${user}`;
}
