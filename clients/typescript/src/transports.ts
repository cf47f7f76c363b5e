import type { Clock } from "./clock.js";
import type { FanfareError } from "./errors.js";
import type { SocketClass } from "./link.js";
import { SUBPROTOCOL } from "./protocol.js";

/** A way to be connected. */
export type Transport = "websocket" | "stream" | "poll";

export interface Way {
  readonly transport: Transport;
  readonly Socket: SocketClass;
}

/** So many attempts fail before the next way is tried; more when this one has worked before. */
const FAILURES = 2;
const FAILURES_PROVEN = 5;
/** When to look whether WebSockets work after all: at first, and after that looking twice as seldom each time. */
const LOOK_MS = 60_000;
const LOOK_MS_MAX = 1_800_000;

/** Which way the next connection goes: the first that works, and back to the first of all when that does. */
export class Transports {
  readonly #ways: readonly Way[];
  readonly #clock: Clock;
  #at = 0;
  #failures = 0;
  #proven = false;
  #lookMs = LOOK_MS;
  #stop: () => void = () => {};

  constructor(ways: readonly Way[], clock: Clock) {
    this.#ways = ways;
    this.#clock = clock;
  }

  get current(): Way {
    return this.#ways[this.#at]!;
  }

  /** A connection ended before it was welcomed. */
  failed(error: FanfareError): void {
    // A refusal with a reason is no fault of the way.
    if (error.code !== "connection_lost") return;
    this.#failures += 1;
    // Without a close number it took too long: once more would take as long.
    if (error.closeCode !== undefined && this.#failures < (this.#proven ? FAILURES_PROVEN : FAILURES)) return;
    this.#go((this.#at + 1) % this.#ways.length);
  }

  /** One was welcomed. `better` is called when the first way would work as well. */
  welcomed(address: string, better: () => void): void {
    this.#failures = 0;
    this.#proven = true;
    if (this.#at > 0 && this.#ways[0]!.transport === "websocket") this.#look(address, better);
  }

  /** The connection is gone. */
  stop(): void {
    this.#stop();
  }

  #go(at: number): void {
    this.#at = at;
    this.#failures = 0;
    this.#proven = false;
  }

  #look(address: string, better: () => void): void {
    this.#stop = this.#clock.after(this.#lookMs, () => {
      this.#lookMs = Math.min(this.#lookMs * 2, LOOK_MS_MAX);
      const socket = new this.#ways[0]!.Socket(address, [SUBPROTOCOL]);
      const end = () => {
        socket.onopen = socket.onclose = null;
        socket.close();
      };
      this.#stop = end;
      socket.onerror = () => {};
      socket.onclose = () => this.#look(address, better);
      socket.onopen = () => {
        end();
        this.#go(0);
        this.#lookMs = LOOK_MS;
        better();
      };
    });
  }
}
