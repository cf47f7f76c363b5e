/** A network between a page and the gateway that tests hold in their hands. */
import { connect, createServer } from "node:net";

/**
 * Listens on a free port and forwards to the address.
 * @param {URL} target
 */
export async function network(target) {
  /** @type {Set<import("node:net").Socket>} */
  const open = new Set();
  const server = createServer((client) => {
    open.add(client);
    const upstream = connect(Number(target.port || 80), target.hostname);
    client.pipe(upstream).pipe(client);
    const end = () => {
      open.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    client.upstream = upstream;
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** What is open carries nothing any more, and nobody is told: a phone that left its network. */
    strand() {
      for (const client of open) {
        client.unpipe(client.upstream);
        client.upstream.unpipe(client);
        client.resume();
        client.upstream.resume();
      }
    },
    /** What is open breaks. */
    cut() {
      for (const client of open) client.resetAndDestroy();
    },
    close() {
      server.close();
      for (const client of open) client.destroy();
    },
  };
}
