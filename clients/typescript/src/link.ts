import type { Clock } from "./clock.js";
import { closeError, clientError, FanfareError } from "./errors.js";
import { type CommandKind, decode, encode, type Hello, type Inbound, SUBPROTOCOL } from "./protocol.js";

/** What an answer to a command says. */
export type Answer = { ok: unknown; error?: undefined } | { ok?: undefined; error: FanfareError };

/** A command on its way. `settle` runs at once when the answer is read, before anything that came after it. */
export interface Command {
  readonly kind: CommandKind;
  readonly body: string;
  /** The channel it is about, told in its error. */
  readonly channel?: string;
  readonly settle: (answer: Answer) => void;
  /** Its place among those that are sent again on the next connection when this one ends before their answer. */
  readonly order?: number;
  /** When it went out last. */
  sentAt?: number;
}

/** The part of the WebSocket interface that the client uses: browsers, workers, Node, and the `ws` package have it. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** A WebSocket class. */
export type SocketClass = new (url: string, protocols?: string[]) => Socket;

export interface LinkOptions {
  readonly Socket: SocketClass;
  readonly address: string;
  readonly clock: Clock;
  /** Rights and identity. */
  readonly opening: { token: string | undefined; resume: string | undefined };
  /** What goes out with connect, in one frame as far as it fits, and is void when connect is refused. */
  readonly first: () => Command[];
  readonly onHello: (hello: Hello) => void;
  /** `size` is that of the frame, in characters. */
  readonly onPush: (push: Inbound, size: number) => void;
  /** Called once, unless `close` was called before, with the commands that got no answer. */
  readonly onLost: (error: FanfareError, unanswered: Command[]) => void;
}

/** A handshake and hello that take longer than this are given up. */
const CONNECT_MS_MAX = 10_000;
/** What a ping may take; less when there is reason to think that the connection is gone. */
const PONG_MS_MAX = 10_000;
const PONG_MS_DOUBTED = 4_000;
/** A timer that is so late says that the page slept: what has come meanwhile is read first. */
const LATE_MS = 1_000;
/** How much goes into one frame. The server takes 64 commands, and 16 KiB more than its largest message needs. */
const FRAME_COMMANDS_MAX = 64;
const FRAME_BYTES = 16_000;
const ENVELOPE_BYTES = 16 * 1024;

/** One WebSocket from its handshake to its end: commands out, answers and pushes in, and the watch on its heartbeat. */
export class Link {
  readonly #options: LinkOptions;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Command>();
  #nextId = 1;
  #frameMax = Infinity;
  #heartbeatMs = 0;
  #heardAt = 0;
  #pinged = false;
  #cancelTimer: () => void;
  #opened = false;
  #over = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    const socket = new options.Socket(options.address, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#cancelTimer = options.clock.after(CONNECT_MS_MAX, () => this.#lose(lost("connecting took too long")));
    socket.onopen = () => this.#connect();
    socket.onmessage = (event) => this.#read(event.data);
    socket.onclose = (event) => this.#lose(event.error ?? closeError(event.code ?? 1006, event.reason ?? ""));
    // A close event follows every error event and says more.
    socket.onerror = () => {};
  }

  /** Whether commands go out; the server reads them after connect, whose answer need not be there. */
  get open(): boolean {
    return this.#opened && !this.#over;
  }

  /** Sends commands in as few frames as they fit in, in their order. */
  send(...commands: Command[]): void {
    let frame: string[] = [];
    let bytes = 0;
    const sentAt = this.#options.clock.now();
    const flush = () => {
      if (frame.length > 0) this.#socket.send(frame.join("\n"));
      frame = [];
      bytes = 0;
    };
    for (const command of commands) {
      const id = this.#nextId++;
      command.sentAt = sentAt;
      this.#pending.set(id, command);
      const text = encode(id, command.kind, command.body);
      const size = bytesOf(text) + 1;
      if (frame.length === FRAME_COMMANDS_MAX || bytes + size > FRAME_BYTES) flush();
      frame.push(text);
      bytes += size;
    }
    flush();
  }

  /** Whether the server reads a frame of this size; a larger one would end the connection. */
  fits(command: Command): boolean {
    const text = command.body;
    return text.length * 3 <= this.#frameMax || bytesOf(text) <= this.#frameMax;
  }

  /** There is reason to doubt the connection: a ping asks whether it lives. */
  check(): void {
    if (this.#over || this.#heartbeatMs <= 0 || this.#pinged) return;
    this.#cancelTimer();
    this.#ping(PONG_MS_DOUBTED);
  }

  /** Ends it without a word to `onLost`; the answer is what got no answer. */
  close(): Command[] {
    this.#end();
    return [...this.#pending.values()];
  }

  #connect(): void {
    const { opening, first, onHello } = this.#options;
    const settle = ({ ok, error }: Answer) => {
      if (error !== undefined) return this.#lose(error);
      const hello = ok as Hello;
      const bytes = hello.limits?.message_bytes;
      // Base64 makes four of three; `encode` adds less to the body than the envelope has to spare.
      if (bytes !== undefined) this.#frameMax = Math.floor((bytes * 4) / 3) + ENVELOPE_BYTES - 64;
      this.#cancelTimer();
      this.#heartbeatMs = hello.heartbeat_ms;
      this.#watch(hello.heartbeat_ms);
      onHello(hello);
    };
    this.#opened = true;
    this.send({ kind: "connect", body: JSON.stringify(opening), settle }, ...first());
  }

  #read(frame: unknown): void {
    this.#heardAt = this.#options.clock.now();
    this.#pinged = false;
    const inbound = decode(frame);
    if (inbound === undefined) return this.#lose(lost("the server sent what is no frame"));
    const { id, ok, error } = inbound;
    if (id === undefined) return this.#options.onPush(inbound, (frame as string).length);
    const command = this.#pending.get(id);
    if (command === undefined) return;
    this.#pending.delete(id);
    const about = command.channel === undefined ? {} : { channel: command.channel };
    command.settle(error === undefined ? { ok } : { error: new FanfareError(error, about) });
  }

  /** A silence of one interval is answered with a ping, and one after that ends the connection. */
  #watch(wait: number): void {
    if (this.#over || this.#heartbeatMs <= 0) return;
    this.#cancelTimer = this.#options.clock.after(wait, () => {
      const left = this.#heardAt + this.#heartbeatMs - this.#options.clock.now();
      if (left > 0) this.#watch(Math.min(left, this.#heartbeatMs));
      else this.#ping(Math.min(this.#heartbeatMs, PONG_MS_MAX));
    });
  }

  #ping(wait: number): void {
    this.#pinged = true;
    this.send({ kind: "ping", body: "{}", settle: () => {} });
    this.#await(wait);
  }

  /** A timer that fires late (a page asleep in the background) does not judge: what has come is read first. */
  #await(wait: number): void {
    const { clock } = this.#options;
    const end = clock.now() + wait;
    this.#cancelTimer = clock.after(wait, () => {
      if (!this.#pinged) return this.#watch(Math.max(0, this.#heardAt + this.#heartbeatMs - clock.now()));
      if (clock.now() - end > LATE_MS) return this.#await(LATE_MS);
      this.#lose(lost("nothing was heard from the server"));
    });
  }

  #lose(error: FanfareError): void {
    if (this.#over) return;
    this.#end();
    this.#options.onLost(error, [...this.#pending.values()]);
  }

  #end(): void {
    this.#over = true;
    this.#cancelTimer();
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Stays in place: the `ws` package throws an error that nobody listens for.
    socket.onerror = () => {};
    socket.close(1000);
  }
}

function lost(detail: string): FanfareError {
  return clientError("connection_lost", detail, { retryable: true });
}

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}
