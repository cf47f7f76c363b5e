import { clientError, type FanfareError } from "./errors.js";
import type { Message } from "./message.js";
import { RecentIds } from "./recent.js";

/** A part of the channel that was missed and cannot be had any more. */
export interface Gap {
  readonly channel: string;
  /**
   * `epoch_changed`, `diverged`, `truncated`, `denied` or `too_old`; `invalid_position` when the server no longer knows
   * the position that it gave, `dropped` where a channel lets the oldest messages go that a client does not take.
   */
  readonly reason: string;
  /** The last position before it, and the one after which messages arrive again, as far as the server knows them. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** How many messages it is, where the server says so. */
  readonly dropped?: number;
}

/** Called with one message after another: the next waits until what this returned is done. */
export type Handler<T = unknown> = (message: Message<T>) => unknown;

/** What a delivery needs of its subscription. */
export interface DeliveryPort {
  readonly channel: string;
  gap(gap: Gap): unknown;
  /** A message that no handler listens to. */
  message(message: Message): unknown;
  error(error: FanfareError): void;
  /** Everything that was held is handled. */
  emptied(): void;
}

interface Listener {
  readonly handler: Handler;
  readonly onGap: ((gap: Gap) => unknown) | undefined;
}

/** Something for the handlers, or nothing but a step forward; `position` is kept when it is done. */
export interface Entry {
  readonly message?: Message;
  readonly gap?: Gap;
  readonly position: string;
  readonly size: number;
}

interface Held extends Entry {
  readonly round: number;
}

const IDS_REMEMBERED = 10_000;
const HELD_MAX = 10_000;
const HELD_SIZE_MAX = 16 * 1024 * 1024;

/** Hands messages and gaps to a channel's handlers, one after another, and keeps the position of what they are done with. */
export class Delivery {
  readonly #port: DeliveryPort;
  readonly #seen = new RecentIds(IDS_REMEMBERED);
  #listeners: Listener[] = [];
  #handled: string | undefined;
  #resume: string | undefined;
  /** Counts the server's answers to subscribe; a gap makes what is held from before it no place to resume from. */
  #round = 0;
  #resumeRound = 0;
  #held: Held[] = [];
  #heldSize = 0;
  #busy = false;

  constructor(port: DeliveryPort, start: string | undefined) {
    this.#port = port;
    this.#resume = start;
  }

  /** The position after the last message whose handlers returned. */
  get handled(): string | undefined {
    return this.#handled;
  }

  /** Where to subscribe again; `undefined` is from now. */
  get resume(): string | undefined {
    return this.#resume;
  }

  /** Whether anybody listens. */
  get wanted(): boolean {
    return this.#listeners.length > 0;
  }

  listen(handler: Handler, onGap: ((gap: Gap) => unknown) | undefined): void {
    this.#listeners.push({ handler, onGap });
  }

  forget(handler: Handler | undefined): void {
    this.#listeners = handler === undefined ? [] : this.#listeners.filter((listener) => listener.handler !== handler);
  }

  /** Handlers are called no more. */
  clear(): void {
    this.#listeners = [];
    this.#held = [];
    this.#heldSize = 0;
  }

  /** From here on the server continues, behind a gap where something is lost. */
  begin(position: string, gap: Gap | undefined): void {
    this.#round += 1;
    if (gap === undefined) return this.take({ position, size: 0 });
    // What is held from before the gap is handled still, but resuming there would only tell of the gap again.
    this.#resume = position;
    this.#resumeRound = this.#round;
    this.take({ position, gap, size: 0 });
  }

  /** Forgets where to resume: the server does not know the place. */
  lose(): void {
    this.#resume = undefined;
  }

  /** Takes in what comes next; `false` when too much waits for the handlers already. */
  hold(entry: Entry): boolean {
    if (this.#held.length >= HELD_MAX || this.#heldSize + entry.size > HELD_SIZE_MAX) return false;
    const { message, ...step } = entry;
    // What comes twice is a step forward all the same.
    const known = message !== undefined && !this.#seen.add(message.id);
    this.take(known ? step : entry);
    return true;
  }

  /** Takes in what must not be left out. */
  take(entry: Entry): void {
    this.#held.push({ ...entry, round: this.#round });
    this.#heldSize += entry.size;
    this.#drain();
  }

  #drain(): void {
    if (this.#busy) return;
    this.#busy = true;
    let entry: Held | undefined;
    while ((entry = this.#held.shift()) !== undefined) {
      const current = entry;
      this.#heldSize -= current.size;
      const waits = this.#run(current);
      if (waits.length === 0) {
        this.#keep(current, true);
        continue;
      }
      void Promise.all(waits).then((done) => {
        this.#busy = false;
        this.#keep(current, done.every(Boolean));
        this.#drain();
      });
      return;
    }
    this.#busy = false;
    this.#port.emptied();
  }

  /** Calls the handlers; what is left to wait for says whether it went well. */
  #run({ message, gap }: Held): Promise<boolean>[] {
    const waits: Promise<boolean>[] = [];
    const call = (run: () => unknown) => {
      try {
        const result = run();
        if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
          waits.push(Promise.resolve(result).then(() => true, (cause) => this.#failed(cause)));
        }
      } catch (cause) {
        waits.push(Promise.resolve(this.#failed(cause)));
      }
    };
    if (gap !== undefined) {
      const told = this.#listeners.filter((listener) => listener.onGap !== undefined);
      for (const listener of told) call(() => listener.onGap?.(gap));
      if (told.length === 0) call(() => this.#port.gap(gap));
    }
    if (message !== undefined) {
      if (!this.wanted) call(() => this.#port.message(message));
      for (const { handler } of [...this.#listeners]) call(() => handler(message));
    }
    return waits;
  }

  #failed(cause: unknown): false {
    const { channel } = this.#port;
    const detail = `a handler of ${channel} failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    this.#port.error(clientError("handler_failed", detail, { channel, cause }));
    return false;
  }

  /** Keeps the position of what is done. After a failed handler it stays, and the message may come once more. */
  #keep(entry: Held, well: boolean): void {
    if (!well) {
      if (entry.message !== undefined) this.#seen.delete(entry.message.id);
      return;
    }
    this.#handled = entry.position;
    if (entry.round >= this.#resumeRound) this.#resume = entry.position;
  }
}
