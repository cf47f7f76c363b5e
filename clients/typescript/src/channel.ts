import { clientError } from "./errors.js";
import { ChannelPresence, type PresenceChannelPort } from "./members.js";
import { type Draft, type Message, readMessage, writeDraft } from "./message.js";
import type { WireMessage } from "./protocol.js";
import type { Handler } from "./delivery.js";
import type { Start, Subscribed, SubscribeOptions, Subscription } from "./subscription.js";

/** What became of a publish. */
export interface Published {
  readonly id: string;
  readonly position: string;
  /** What the acknowledgement means: `memory`, `replicated` or `fsync`. */
  readonly durability: string;
  /** Whether a message with this id was there already. */
  readonly duplicate: boolean;
}

export interface HistoryOptions {
  /** Start at this position. Without it: at the newest going backward, at the oldest kept going forward. */
  from?: string;
  /** `backward` by default: newest first. */
  direction?: "backward" | "forward";
  /** 1 to 1,000; 100 by default. */
  limit?: number;
}

export interface HistoryPage<T = unknown> {
  readonly messages: Message<T>[];
  /** Whether messages were trimmed that this page would have held. */
  readonly truncated: boolean;
  /** Where the next page starts; absent on the last. */
  readonly next: string | undefined;
}

/** What a channel needs of its client. */
export interface ChannelPort extends PresenceChannelPort {
  subscription(): Subscription | undefined;
  subscribe(start: Start): Subscription;
}

/** A channel by name: a light handle, made as often as one likes. */
export class Channel {
  readonly name: string;
  /** Who is on it. */
  readonly presence: ChannelPresence;
  readonly #port: ChannelPort;

  constructor(name: string, port: ChannelPort) {
    this.name = name;
    this.presence = new ChannelPresence(name, port);
    this.#port = port;
  }

  /** The position after the last message whose handlers returned: start there another time to miss nothing. */
  get position(): string | undefined {
    return this.#port.subscription()?.position;
  }

  /**
   * Calls the handler with each message, one after the other; an async handler is waited for. The promise resolves when
   * the server has subscribed, however long that takes, and fails when it refuses.
   */
  subscribe<T = unknown>(handler: Handler<T>, options: SubscribeOptions = {}): Promise<Subscribed> {
    const { onGap, ...start } = options;
    const { position, rewind } = start;
    const there = this.#port.subscription();
    if (there !== undefined && (position !== undefined || rewind !== undefined)) {
      const detail = `${this.name} is subscribed: it cannot start elsewhere`;
      return Promise.reject(clientError("already_subscribed", detail, { channel: this.name }));
    }
    const subscription = there ?? this.#port.subscribe(start);
    const subscribed = subscription.listen(handler as Handler, onGap);
    subscription.attach();
    return subscribed;
  }

  /** Takes the handler away, or all of them; with the last one the subscription ends. */
  unsubscribe(handler?: Handler<any>): Promise<void> {
    const subscription = this.#port.subscription();
    if (subscription === undefined || !subscription.forget(handler)) return Promise.resolve();
    return new Promise((resolve) => subscription.end(undefined, () => resolve()));
  }

  /**
   * Publishes a message: `publish("greet", "hi")` or `publish({ name: "greet", data: "hi" })`. It resolves once the
   * server has accepted it. A publish that a lost connection left unanswered is sent again under the same id.
   */
  publish(draft: Draft): Promise<Published>;
  publish(name: string, data: unknown): Promise<Published>;
  publish(first: Draft | string, data?: unknown): Promise<Published> {
    let body: string;
    try {
      body = writeDraft(this.name, typeof first === "string" ? { name: first, data } : first);
    } catch (cause) {
      const detail = `the message is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`;
      return Promise.reject(clientError("invalid_request", detail, { channel: this.name, cause }));
    }
    return this.#port.command("publish", body) as Promise<Published>;
  }

  /** Reads what was published before, a page at a time: pass `next` as `from` to go on. */
  async history<T = unknown>(options: HistoryOptions = {}): Promise<HistoryPage<T>> {
    const body = JSON.stringify({ channel: this.name, ...options });
    const page = (await this.#port.command("history", body)) as {
      lineage: string;
      messages: WireMessage[];
      truncated: boolean;
      next?: string;
    };
    const messages = page.messages.map((wire) => readMessage(wire, this.name, page.lineage) as Message<T>);
    return { messages, truncated: page.truncated, next: page.next };
  }

  /** The pages of the past, one after another until there is none. */
  async *historyPages<T = unknown>(options: HistoryOptions = {}): AsyncGenerator<HistoryPage<T>, void, undefined> {
    let { from } = options;
    for (;;) {
      const page = await this.history<T>({ ...options, ...(from !== undefined && { from }) });
      yield page;
      if (page.next === undefined) return;
      from = page.next;
    }
  }

  /**
   * The messages of the past, one after another: backward to the oldest that is kept, forward to the newest.
   * `onTruncated` is called where messages were trimmed that would have come next.
   */
  async *historyMessages<T = unknown>(
    options: HistoryOptions & { onTruncated?: () => unknown } = {},
  ): AsyncGenerator<Message<T>, void, undefined> {
    const { onTruncated, ...rest } = options;
    for await (const { messages, truncated } of this.historyPages<T>(rest)) {
      // Going forward what is missing lies before the page, going backward behind it.
      if (truncated && rest.direction === "forward") onTruncated?.();
      yield* messages;
      if (truncated && rest.direction !== "forward") onTruncated?.();
    }
  }
}
