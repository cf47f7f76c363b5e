import { WebSocket } from "ws";

/** A WebSocket that can be cut as a network cuts: without a close frame. */
export class CuttableSocket extends WebSocket {
  static readonly #open = new Set<CuttableSocket>();

  constructor(url: string, protocols?: string[]) {
    super(url, protocols);
    CuttableSocket.#open.add(this);
    this.once("close", () => CuttableSocket.#open.delete(this));
  }

  static cutAll(): void {
    for (const socket of CuttableSocket.#open) socket.terminate();
  }
}
