import { clientError } from "./errors.js";
import type { Presence, PresenceHandler } from "./presence.js";
import type { CommandKind, WirePresence } from "./protocol.js";
import { type Member, read } from "./roster.js";

/** Everybody on a channel at one moment. */
export interface Members<T = unknown> {
  /** Those present; empty where the channel is crowded. */
  readonly members: Member<T>[];
  /** How many are present, also on a crowded channel. */
  readonly count: number;
  /** Whether there are more than the channel lists. */
  readonly crowded: boolean;
}

export interface PresenceOptions {
  /** Called when everything known is told: after the first list, and after each batch of changes. */
  onSync?: () => unknown;
}

export interface PresenceChannelPort {
  command(kind: CommandKind, body: string): Promise<unknown>;
  present(): Presence | undefined;
  presence(): Presence;
}

/** Who is on a channel. A light handle, as the channel's own. */
export class ChannelPresence {
  readonly #name: string;
  readonly #port: PresenceChannelPort;

  constructor(name: string, port: PresenceChannelPort) {
    this.#name = name;
    this.#port = port;
  }

  /** Who is there, as far as is known: complete while somebody listens by `subscribe`. */
  get members(): Member[] {
    return this.#port.present()?.roster.members ?? [];
  }

  /** How many are there, also on a crowded channel. */
  get count(): number {
    return this.#port.present()?.roster.count ?? 0;
  }

  /** Whether there are more than the channel lists: then they are counted alone. */
  get crowded(): boolean {
    return this.#port.present()?.roster.crowded ?? false;
  }

  /** Becomes a member, until `leave`: also on the connections after this one. */
  enter(data?: unknown): Promise<void> {
    return this.#port.presence().enter(data);
  }

  /** Changes what this member says of itself. */
  update(data: unknown): Promise<void> {
    const presence = this.#port.present();
    if (presence?.entered) return presence.enter(data);
    const detail = `this client has not entered ${this.#name}`;
    return Promise.reject(clientError("not_present", detail, { channel: this.#name }));
  }

  leave(): Promise<void> {
    return this.#port.present()?.leave() ?? Promise.resolve();
  }

  /** Calls the handler with everybody who is there, and then with each who enters, changes or leaves. */
  subscribe<T = unknown>(handler: PresenceHandler<T>, { onSync }: PresenceOptions = {}): void {
    this.#port.presence().listen(handler as PresenceHandler, onSync);
  }

  /** Takes the handler away, or all of them. */
  unsubscribe(handler?: PresenceHandler<any>): void {
    this.#port.present()?.forget(handler);
  }

  /** Asks the server who is there now. */
  async get<T = unknown>(): Promise<Members<T>> {
    const all = new Map<string, Member<T>>();
    let after: string | undefined;
    for (;;) {
      const body = JSON.stringify({ channel: this.#name, action: "get", after, limit: 1_000 });
      const page = (await this.#port.command("presence", body)) as WirePresence;
      for (const wire of page.members ?? []) {
        all.set(wire.connection ?? `user ${wire.user}`, read(wire) as Member<T>);
      }
      const { members, count, next } = page;
      if (next === undefined) return { members: [...all.values()], count, crowded: members === undefined };
      after = next;
    }
  }
}
