import type { Redis } from 'ioredis';

import type { RedisConfig } from '../config/load.ts';

export type { Redis } from 'ioredis';

/**
 * A client that never makes a caller wait for a dead Redis: 100 ms a command, nothing queued while it is away, and it
 * comes back by itself. `onError` is told of each failed connection attempt.
 */
export async function openRedis(config: RedisConfig, onError: (error: Error) => void): Promise<Redis> {
  const { Redis: Client } = await import('ioredis');
  const client = new Client(config.url.reveal(), {
    commandTimeout: 100,
    connectTimeout: 500,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    lazyConnect: true,
    retryStrategy: (attempt) => Math.min(2000, 50 * 2 ** Math.min(attempt, 6)),
  });
  client.on('error', onError);
  // Away now is no reason to fail: the caller goes on without it.
  await client.connect().catch(onError);
  return client;
}
