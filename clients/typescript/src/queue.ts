import { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import { clientError, FanfareError } from "./errors.js";
import type { Answer, Command, Link } from "./link.js";
import type { Rate } from "./protocol.js";

export interface QueueOptions {
  readonly clock: Clock;
  readonly countMax: number;
  readonly bytesMax: number;
}

/** The same publish is tried so often when the server cannot say what became of it. */
const UNKNOWN_MAX = 5;
/** Whether the message may be there: publishing it again with the same id is safe, and says. */
const isUnsure = ({ code }: FanfareError): boolean => code === "outcome_unknown" || code === "not_replicated";
/** What waited is sent at the server's pace, in such steps, and a little below it: frames do not travel evenly. */
const STEP_MS = 200;
const PACE = 0.9;

/**
 * Commands that are owed an answer, whatever happens to connections: they wait for one in the order in which they were
 * given, go out at the rate that the server allows, and those that a lost connection left unanswered go out again.
 */
export class Queue {
  readonly #options: QueueOptions;
  #waiting: Command[] = [];
  /** Of all that wait and all that is unanswered. */
  #bytes = 0;
  #given = 0;
  #link: Link | undefined;
  /** How many publishes may go out at once, and how many more each second. */
  #allowed = Infinity;
  #rate = Infinity;
  #held = false;
  #cancelTimer: () => void = () => {};

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Sends the command, or lets it wait; `settle` is called exactly once. */
  give(kind: Command["kind"], body: string, channel: string | undefined, settle: (answer: Answer) => void): void {
    const { bytesMax, countMax } = this.#options;
    const direct = this.#link !== undefined && this.#waiting.length === 0;
    const about = channel === undefined ? {} : { channel };
    if (this.#bytes + body.length > bytesMax || (!direct && this.#waiting.length >= countMax)) {
      const detail = `${this.#waiting.length} commands wait for a connection already, ${this.#bytes} bytes in all`;
      return settle({ error: clientError("queue_full", detail, { ...about, retryable: true }) });
    }
    this.#bytes += body.length;
    let unknown = 0;
    const backoff = new Backoff(this.#options.clock);
    const command: Command = {
      kind,
      body,
      ...about,
      order: this.#given++,
      settle: (answer) => {
        if (answer.error !== undefined && isUnsure(answer.error) && kind === "publish" && unknown++ < UNKNOWN_MAX) {
          return this.#again(command, backoff.next(answer.error.retryAfterMs));
        }
        this.#bytes -= body.length;
        settle(answer);
      },
    };
    if (!direct) return void this.#waiting.push(command);
    if (!this.#link?.fits(command)) return command.settle({ error: tooLarge(channel) });
    this.#link.send(command);
  }

  /** A connection is there. */
  open(link: Link, rate: Rate | undefined): void {
    this.#link = link;
    this.#rate = (rate?.max ?? Infinity) * PACE;
    this.#allowed = (rate?.burst ?? Infinity) * PACE;
    this.#flush();
  }

  /** It is gone; what it left unanswered is sent again on the next one. */
  shut(unanswered: readonly Command[]): void {
    this.#link = undefined;
    this.#held = false;
    this.#cancelTimer();
    this.#back(unanswered);
  }

  /** Nothing is sent any more: all that waits fails. */
  fail(error: FanfareError): void {
    for (const command of this.#waiting.splice(0)) command.settle({ error });
  }

  #back(commands: readonly Command[]): void {
    this.#waiting.push(...commands);
    this.#waiting.sort((one, other) => (one.order ?? 0) - (other.order ?? 0));
  }

  #flush(): void {
    if (this.#link === undefined || this.#held) return;
    let count = 0;
    for (const { kind } of this.#waiting) {
      if (kind === "publish" && --this.#allowed < 0) break;
      count += 1;
    }
    const going: Command[] = [];
    for (const command of this.#waiting.splice(0, count)) {
      if (this.#link.fits(command)) going.push(command);
      else command.settle({ error: tooLarge(command.channel) });
    }
    this.#link.send(...going);
    if (this.#waiting.length === 0) return;
    const step = Math.max(STEP_MS, 1000 / this.#rate);
    this.#allowed = (this.#rate * step) / 1000;
    this.#hold(step);
  }

  /** Nobody knows what became of it: the same id again is safe. What comes later waits behind it. */
  #again(command: Command, wait: number): void {
    this.#back([command]);
    this.#hold(wait);
  }

  #hold(wait: number): void {
    if (this.#link === undefined) return;
    this.#held = true;
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(wait, () => {
      this.#held = false;
      this.#flush();
    });
  }
}

function tooLarge(channel: string | undefined): FanfareError {
  return clientError("message_too_large", "the message is larger than the app allows", channel === undefined ? {} : { channel });
}
