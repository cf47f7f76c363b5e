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
  /** Whether it is sent again on the next connection when this one ends before its answer. */
  readonly replay: boolean;
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
  readonly token: string | undefined;
  readonly onHello: (hello: Hello) => void;
  readonly onPush: (push: Inbound) => void;
  /** Called once, unless `close` was called before, with the commands that got no answer. */
  readonly onLost: (error: FanfareError, unanswered: Command[]) => void;
}

/** A handshake and hello that take longer than this are given up. */
const CONNECT_MS_MAX = 10_000;

/** One WebSocket from its handshake to its end: commands out, answers and pushes in, and the watch on its heartbeat. */
export class Link {
  readonly #options: LinkOptions;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Command>();
  #nextId = 1;
  #heartbeatMs = 0;
  #heardAt = 0;
  #pinged = false;
  #cancelTimer: () => void;
  #over = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    const socket = new options.Socket(options.address, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#cancelTimer = options.clock.after(CONNECT_MS_MAX, () =>
      this.#lose(clientError("connection_lost", "connecting took too long", { retryable: true })),
    );
    socket.onopen = () => this.#connect();
    socket.onmessage = (event) => this.#read(event.data);
    socket.onclose = (event) => this.#lose(closeError(event.code ?? 1006, event.reason ?? ""));
    // A close event follows every error event and says more.
    socket.onerror = () => {};
  }

  send(command: Command): void {
    const id = this.#nextId++;
    this.#pending.set(id, command);
    this.#socket.send(encode(id, command.kind, command.body));
  }

  /** Ends it without a word to `onLost`; the answer is what got no answer. */
  close(): Command[] {
    this.#end();
    return [...this.#pending.values()];
  }

  #connect(): void {
    const { token, onHello } = this.#options;
    this.send({
      kind: "connect",
      body: JSON.stringify(token === undefined ? {} : { token }),
      replay: false,
      settle: ({ ok, error }) => {
        if (error !== undefined) return this.#lose(error);
        const hello = ok as Hello;
        this.#cancelTimer();
        this.#heartbeatMs = hello.heartbeat_ms;
        this.#watch(hello.heartbeat_ms);
        onHello(hello);
      },
    });
  }

  #read(frame: unknown): void {
    this.#heardAt = this.#options.clock.now();
    this.#pinged = false;
    const inbound = decode(frame);
    if (inbound === undefined) {
      return this.#lose(clientError("connection_lost", "the server sent what is no frame", { retryable: true }));
    }
    if (inbound.ok === undefined && inbound.error === undefined) return this.#options.onPush(inbound);
    const command = this.#pending.get(inbound.id ?? 0);
    if (command === undefined) return;
    this.#pending.delete(inbound.id ?? 0);
    const about = command.channel === undefined ? {} : { channel: command.channel };
    command.settle(inbound.error === undefined ? { ok: inbound.ok } : { error: new FanfareError(inbound.error, about) });
  }

  /**
   * A silence of one interval is answered with a ping, a second one ends the connection. A timer that fires late (a
   * page asleep in the background) finds no ping sent, and asks before it judges.
   */
  #watch(wait: number): void {
    if (this.#over || this.#heartbeatMs <= 0) return;
    this.#cancelTimer = this.#options.clock.after(wait, () => {
      const left = this.#heardAt + this.#heartbeatMs - this.#options.clock.now();
      if (!this.#pinged && left > 0) return this.#watch(Math.min(left, this.#heartbeatMs));
      if (this.#pinged) {
        return this.#lose(clientError("connection_lost", "nothing was heard from the server", { retryable: true }));
      }
      this.#pinged = true;
      this.send({ kind: "ping", body: "{}", replay: false, settle: () => {} });
      this.#watch(this.#heartbeatMs);
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
