import { clientError } from "./errors.js";
import type { SocketClass } from "./link.js";

/** `https://host/v1/apps/app_…` → `wss://host/v1/apps/app_…/socket`. */
export function socketAddress(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw clientError("invalid_url", `${JSON.stringify(url)} is no URL; the dashboard shows the app's`, { cause });
  }
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[parsed.protocol];
  if (scheme === undefined || !/\/v1\/apps\/[^/]+\/?$/.test(parsed.pathname) || parsed.search || parsed.hash) {
    throw clientError("invalid_url", "the app's URL reads https://<gateway>/v1/apps/<app>");
  }
  return `${scheme}//${parsed.host}${parsed.pathname.replace(/\/$/, "")}/socket`;
}

/** The platform's own WebSocket: browsers and workers have it, Node from version 22. */
export function platformSocket(): SocketClass {
  const found = (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (found !== undefined) return found;
  throw clientError(
    "no_websocket",
    "this platform has no WebSocket (Node has one from version 22): install the package `ws` and pass its class, " +
      'new Fanfare(url, { WebSocket }) after import { WebSocket } from "ws"',
  );
}
