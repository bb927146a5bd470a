import type { Socket } from 'node:net';

import type { Secret } from '../config/secrets.ts';
import { withDeadline } from '../deadline.ts';
import { openPoolOn, type Pool, type PoolOptions } from './pool.ts';

/** A pool whose connections can be cut whatever state their server is in: frozen, half open, or gone. */
export interface CuttablePool {
  readonly pool: Pool;
  /** Whatever waits for an answer fails at once; the next query connects anew. */
  readonly cut: () => void;
  readonly close: () => Promise<void>;
}

/** How long a server may take to say goodbye. */
const goodbyeMs = 500;

export async function openCuttablePool(
  url: Secret,
  options: Omit<PoolOptions, 'onSocket'> & { readonly max: number },
): Promise<CuttablePool> {
  const sockets = new Set<Socket>();
  const pool = await openPoolOn(url, {
    ...options,
    onSocket: (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    },
  });
  const cut = (): void => {
    for (const socket of sockets) {
      socket.destroy();
    }
  };
  const close = (): Promise<void> => withDeadline(pool.end(), goodbyeMs, 'no goodbye').catch(cut);
  return { pool, cut, close };
}
