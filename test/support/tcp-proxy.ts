import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Where the connection is cut: before the server has the COMMIT, or when it has answered and the answer is on its way. */
export type CutAt = 'before COMMIT' | 'after COMMIT';

/** Between kpipe and PostgreSQL. */
export interface PostgresProxy {
  readonly port: number;
  /**
   * Cuts the connection of the next transaction that said something that matches, at its COMMIT. Resolves when it is cut;
   * the server has committed then (`after COMMIT`), or never will.
   */
  readonly cutNext: (said: RegExp, at: CutAt) => Promise<void>;
  /** From now on it leads to another server, as a name does after a failover; connections to the old one break. */
  readonly leadTo: (target: PostgresTarget) => void;
  readonly close: () => Promise<void>;
}

export interface PostgresTarget {
  readonly host: string;
  readonly port: number;
}

interface Cut {
  readonly said: RegExp;
  readonly at: CutAt;
  readonly done: () => void;
}

/** Simple queries as they go over the wire: `Q`, the length, text, zero. */
const commit = Buffer.from('Q\0\0\0\x0bcommit\0', 'latin1');
const begin = 'begin;';

export async function startPostgresProxy(first: PostgresTarget): Promise<PostgresProxy> {
  let target = first;
  const sockets = new Set<Socket>();
  let armed: Cut | null = null;
  const server = createServer((client) => {
    const upstream = connect(target.port, target.host);
    let transaction = '';
    let cutting: Cut | null = null;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      transaction = text.includes(begin) ? text : transaction + text.slice(0, 10_000);
      if (armed !== null && chunk.includes(commit) && armed.said.test(transaction)) {
        cutting = armed;
        armed = null;
        if (cutting.at === 'before COMMIT') {
          client.destroy();
          cutting.done();
          return;
        }
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (cutting === null) {
        client.write(chunk);
      } else if (chunk.includes('COMMIT\0')) {
        client.destroy();
        cutting.done();
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cutNext: (said, at) =>
      new Promise((done) => {
        armed = { said, at, done };
      }),
    leadTo: (next) => {
      target = next;
      sockets.forEach((socket) => socket.destroy());
    },
    close: async () => {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}
