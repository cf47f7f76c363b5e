import { clientError, closeError, FanfareError, type Problem } from "./errors.js";
import type { Socket, SocketClass } from "./link.js";

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

/** How long a poll waits: less than a heartbeat, so that its end is one. */
const POLL_MS = 20_000;
/** What one request holds at most, as a frame does. */
const COMMANDS_MAX = 64;
const CHARACTERS_MAX = 16_000;
/** Commands that change nothing of the connection, and need no new stream or poll. */
const BESIDE = /^\{"id":\d+,"(publish|history|ping)":/;
const ID = /^\{"id":(\d+)/;

/** A socket made of requests, for networks that break WebSockets: one that is read as it comes, or poll after poll. */
export function carrier(fetch: Fetch, door: "stream" | "poll"): SocketClass {
  return class extends Carrier {
    constructor(address: string) {
      super(address, fetch, door);
    }
  };
}

/**
 * The server keeps nothing between two requests: what it told last ends with a ticket, and the next request begins with
 * that. What was read behind the last ticket comes again, so it is held back until its own is there.
 */
class Carrier implements Socket {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  readonly #url: string;
  readonly #fetch: Fetch;
  readonly #door: "stream" | "poll";
  #ticket = "";
  #frames: string[] = [];
  /** Commands of the stream or poll under way whose answers are not there: it must not be cut. */
  #unanswered = new Set<string>();
  #running: AbortController | undefined;
  #beside: AbortController | undefined;
  #over = false;

  constructor(address: string, fetch: Fetch, door: "stream" | "poll") {
    this.#url = address.replace(/^ws/, "http").replace(/socket$/, "");
    this.#fetch = fetch;
    this.#door = door;
    queueMicrotask(() => this.onopen?.({}));
  }

  send(text: string): void {
    this.#frames.push(text);
    // What is sent in one go goes out in one request.
    queueMicrotask(() => this.#next());
  }

  close(): void {
    this.#over = true;
    this.#running?.abort();
    this.#beside?.abort();
  }

  /** Does what is due: a request with commands, or the next poll. */
  #next(): void {
    if (this.#over || this.#beside !== undefined || this.#unanswered.size > 0) return;
    const running = this.#running;
    if (this.#frames.length === 0) {
      if (running === undefined && this.#ticket !== "") void this.#run("");
    } else if (running !== undefined && isBeside(this.#frames[0])) {
      void this.#say(this.#take(true));
    } else {
      running?.abort();
      void this.#run(this.#take(false));
    }
  }

  /** Commands for one request, in their order. */
  #take(beside: boolean): string {
    let taken = this.#frames.shift() ?? "";
    for (;;) {
      const [frame] = this.#frames;
      if (frame === undefined || (beside && !isBeside(frame))) return taken;
      const joined = `${taken}\n${frame}`;
      if (joined.length > CHARACTERS_MAX || joined.split("\n").length > COMMANDS_MAX) return taken;
      taken = joined;
      this.#frames.shift();
    }
  }

  /** One stream or poll. */
  async #run(commands: string): Promise<void> {
    const running = (this.#running = new AbortController());
    const isCurrent = () => this.#running === running && !this.#over;
    for (const line of commands.split("\n")) {
      const id = ID.exec(line)?.[1];
      if (id !== undefined) this.#unanswered.add(id);
    }
    const polls = this.#door === "poll";
    let held: string[] = [];
    const flush = () => {
      for (const line of held) {
        this.#unanswered.delete(ID.exec(line)?.[1] ?? "");
        if (isCurrent()) this.onmessage?.({ data: line });
      }
      held = [];
    };
    try {
      const response = await this.#post(polls ? `poll?wait_ms=${POLL_MS}` : "stream", commands, running.signal);
      for await (const line of lines(response, polls)) {
        if (!isCurrent()) return;
        if (line.startsWith('{"ticket":')) {
          this.#ticket = JSON.parse(line).ticket;
          flush();
          if (!polls && isCurrent()) this.#next();
        } else if (line.startsWith('{"close":')) {
          flush();
          const { status, reason } = JSON.parse(line).close;
          return this.#end(isCurrent, closeError(status, reason));
        } else if (line !== "") held.push(line);
        // Says only that the server is there.
        else this.onmessage?.({ data: "{}" });
      }
      if (!polls || held.length > 0) throw closeError(1006, "");
      if (!isCurrent()) return;
      this.onmessage?.({ data: "{}" });
      this.#running = undefined;
      this.#unanswered.clear();
      this.#next();
    } catch (error) {
      this.#end(isCurrent, error);
    }
  }

  /** Commands beside the stream or poll. */
  async #say(commands: string): Promise<void> {
    const beside = (this.#beside = new AbortController());
    try {
      for await (const line of lines(await this.#post("commands", commands, beside.signal), true)) {
        if (!this.#over) this.onmessage?.({ data: line });
      }
      this.#beside = undefined;
      this.#next();
    } catch (error) {
      this.#end(() => !this.#over, error);
    }
  }

  async #post(door: string, commands: string, signal: AbortSignal): Promise<Response> {
    const body = this.#ticket === "" ? commands : `${JSON.stringify({ ticket: this.#ticket })}\n${commands}`;
    const headers = { "content-type": "application/x-ndjson" };
    const response = await this.#fetch(this.#url + door, { method: "POST", headers, body, signal });
    if (response.ok) return response;
    const problem: Problem | undefined = await response.json().catch(() => undefined);
    throw problem?.code === undefined ? closeError(1006, "") : new FanfareError(problem);
  }

  #end(isCurrent: () => boolean, cause: unknown): void {
    if (!isCurrent()) return;
    this.close();
    const lost = () => clientError("connection_lost", "the connection was lost", { retryable: true, cause });
    const error = cause instanceof FanfareError ? cause : Object.assign(lost(), { closeCode: 1006 });
    this.onclose?.({ error });
  }
}

function isBeside(frame: string | undefined): boolean {
  return frame?.split("\n").every((line) => BESIDE.test(line)) === true;
}

/** The lines of an answer: as they come, or once all are there. */
async function* lines(response: Response, whole: boolean): AsyncGenerator<string> {
  if (whole) {
    yield* (await response.text()).split("\n").filter((line) => line !== "");
    return;
  }
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
