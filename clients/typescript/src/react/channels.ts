import type { Channel, Fanfare, FanfareError, Gap, Handler, Member, Message, SubscribeOptions } from "../index.js";
import { Store } from "./store.js";

export interface MessagesSnapshot {
  /** The newest last. */
  readonly messages: readonly Message[];
  /** Whether the server has subscribed. */
  readonly subscribed: boolean;
  /** Why it did not. */
  readonly error: FanfareError | undefined;
  /** The last gap: messages are missing before the first that came after it. */
  readonly gap: Gap | undefined;
}

export interface PresenceSnapshot {
  /** Who is there; empty where the channel is crowded. */
  readonly members: readonly Member[];
  /** How many are there, also on a crowded channel. */
  readonly count: number;
  readonly crowded: boolean;
  /** Whether the list has come. */
  readonly synced: boolean;
  /** Why the client is no member, where a component wants it to be. */
  readonly error: FanfareError | undefined;
}

export const NO_MESSAGES: MessagesSnapshot = { messages: [], subscribed: false, error: undefined, gap: undefined };
export const NOBODY: PresenceSnapshot = { members: [], count: 0, crowded: false, synced: false, error: undefined };

/** The subscription that all components of a client share for a channel. */
export class Messages extends Store<MessagesSnapshot> {
  readonly #client: Fanfare;
  readonly #channel: Channel;
  readonly #forget: () => void;
  #unhear = () => {};
  readonly #handlers = new Set<{ run: Handler }>();
  readonly #sizes = new Set<{ max: number }>();
  #options: SubscribeOptions = {};

  constructor(client: Fanfare, name: string, forget: () => void) {
    super(NO_MESSAGES);
    this.#client = client;
    this.#channel = client.channel(name);
    this.#forget = forget;
  }

  /** How the subscription starts, if it has not. */
  starting(options: SubscribeOptions): this {
    this.#options = options;
    return this;
  }

  handle(run: Handler): () => void {
    const entry = { run };
    this.#handlers.add(entry);
    return () => void this.#handlers.delete(entry);
  }

  /** Keeps at least so many messages. */
  keep(max: number): () => void {
    const entry = { max };
    this.#sizes.add(entry);
    return () => void this.#sizes.delete(entry);
  }

  protected override begin(): void {
    this.#unhear = reopened(this.#client, () => this.#subscribe());
    this.#subscribe();
  }

  protected override end(): void {
    this.#unhear();
    void this.#channel.unsubscribe(this.#receive);
    this.#forget();
  }

  #subscribe(): void {
    this.set({ subscribed: false, error: undefined });
    const onGap = (gap: Gap) => {
      this.set({ gap });
      return this.#options.onGap?.(gap);
    };
    this.#channel.subscribe(this.#receive, { ...this.#options, onGap }).then(
      () => this.set({ subscribed: true }),
      (error: FanfareError) => {
        if (error.code !== "closed") this.set({ error });
      },
    );
  }

  readonly #receive: Handler = (message) => {
    const max = Math.max(0, ...[...this.#sizes].map((size) => size.max));
    if (max > 0) this.set({ messages: [...this.snapshot.messages, message].slice(-max) });
    if (this.#handlers.size === 0) return undefined;
    return Promise.all([...this.#handlers].map(async ({ run }) => run(message)));
  };
}

/** The presence that all components of a client share for a channel. */
export class Presences extends Store<PresenceSnapshot> {
  readonly #client: Fanfare;
  readonly #channel: Channel;
  readonly #forget: () => void;
  #unhear = () => {};
  readonly #entered = new Set<{ data: unknown }>();
  /** What the server was told last, while a member. */
  #said: string | undefined;

  constructor(client: Fanfare, name: string, forget: () => void) {
    super(NOBODY);
    this.#client = client;
    this.#channel = client.channel(name);
    this.#forget = forget;
  }

  /** A component is a member; the client is one until the last of them is not. The last word counts. */
  enter(data: unknown): () => void {
    const entry = { data };
    this.#entered.add(entry);
    this.#say();
    return () => {
      this.#entered.delete(entry);
      // The next one may be put up in the same go.
      setTimeout(() => this.#say(), 0);
    };
  }

  protected override begin(): void {
    const listen = () => this.#channel.presence.subscribe(this.#heard, { onSync: this.#synced });
    this.#unhear = reopened(this.#client, () => {
      listen();
      this.#said = undefined;
      this.#say();
    });
    listen();
  }

  protected override end(): void {
    this.#unhear();
    this.#channel.presence.unsubscribe(this.#heard);
    this.#forget();
  }

  readonly #heard = (): void => {};

  readonly #synced = (): void => {
    const { members, count, crowded } = this.#channel.presence;
    this.set({ members, count, crowded, synced: true });
  };

  #say(): void {
    const { presence } = this.#channel;
    const last = [...this.#entered].at(-1);
    const text = last === undefined ? undefined : (JSON.stringify(last.data) ?? "");
    if (text === this.#said) return;
    this.#said = text;
    const done = last === undefined ? presence.leave() : presence.enter(last.data);
    done.then(() => this.set({ error: undefined }), this.#failed);
  }

  readonly #failed = (error: FanfareError): void => {
    if (error.code !== "closed") this.set({ error });
  };
}

/** A client that was closed or had failed has ended all subscriptions; when it is opened again they are wanted again. */
function reopened(client: Fanfare, run: () => void): () => void {
  return client.on("state", ({ state, previous }) => {
    if (state === "connecting" && previous !== "idle") run();
  });
}

interface Shared {
  readonly messages: Map<string, Messages>;
  readonly presences: Map<string, Presences>;
}

const shared = new WeakMap<Fanfare, Shared>();

/** What the components of a client share. Looking makes nothing: a render may be thrown away. */
export function sharedBy(client: Fanfare): Shared {
  const there = shared.get(client) ?? { messages: new Map(), presences: new Map() };
  shared.set(client, there);
  return there;
}

export function messagesOf(client: Fanfare, name: string): Messages {
  const { messages } = sharedBy(client);
  const there = messages.get(name) ?? new Messages(client, name, () => messages.delete(name));
  messages.set(name, there);
  return there;
}

export function presenceOf(client: Fanfare, name: string): Presences {
  const { presences } = sharedBy(client);
  const there = presences.get(name) ?? new Presences(client, name, () => presences.delete(name));
  presences.set(name, there);
  return there;
}
