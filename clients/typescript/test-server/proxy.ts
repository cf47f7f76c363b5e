/** A proxy that breaks what proxies break. */
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { after } from "node:test";

export interface Broken {
  /** Whether requests to become a WebSocket are let through. */
  upgrades: boolean;
  /** Whether an answer is passed on only when it is whole. */
  buffers: boolean;
}

export interface Proxy extends Broken {
  readonly url: string;
  /** What was asked for, by the last part of its path. */
  readonly asked: string[];
  /** Cuts every connection there is. */
  cut(): void;
}

/** A proxy in front of the gateway at this URL. */
export async function proxy(url: string, broken: Broken): Promise<Proxy> {
  const { hostname, port, pathname } = new URL(url);
  const asked: string[] = [];
  const links = new Set<Socket>();
  const pass = (from: IncomingMessage, to: ServerResponse) => {
    asked.push(from.url?.split("?")[0]?.split("/").at(-1) ?? "");
    const { method, headers, url: path } = from;
    const onward = request({ hostname, port, method, headers, path }, (answer) => {
      const head = () => to.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on("error", () => to.destroy());
      if (!self.buffers) {
        head();
        return void answer.pipe(to);
      }
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("end", () => head().end(Buffer.concat(parts)));
    });
    onward.on("error", () => to.destroy());
    to.on("close", () => onward.destroy());
    from.pipe(onward);
  };
  const server = createServer(pass);
  server.on("connection", (link: Socket) => {
    links.add(link);
    link.on("error", () => {});
    link.once("close", () => links.delete(link));
  });
  server.on("upgrade", (from: IncomingMessage, link: Socket) => {
    asked.push("socket");
    if (!self.upgrades) return link.destroy();
    const onward = connect(Number(port), hostname, () => {
      const headers = Object.entries(from.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      onward.write(`${from.method} ${from.url} HTTP/1.1\r\n${headers.join("")}\r\n`);
      link.pipe(onward).pipe(link);
    });
    onward.on("error", () => link.destroy());
    link.on("close", () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  const cut = () => {
    for (const link of links) link.destroy();
  };
  const self: Proxy = { ...broken, url: `http://127.0.0.1:${own}${pathname}`, asked, cut };
  after(() => {
    server.close();
    cut();
  });
  return self;
}
