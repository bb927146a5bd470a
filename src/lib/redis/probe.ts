import type { Redis } from 'ioredis';

import { readClock, type ClockReading } from '../clock.ts';
import type { Secret } from '../config/secrets.ts';
import { codeOf, KpipeError, messageOf } from '../errors.ts';
import { withDeadline } from '../deadline.ts';

/** What there is to know of a Redis; null where its user may not ask. */
export interface RedisFacts {
  /** `host:port/database`, never with the password. */
  readonly address: string;
  readonly version: string | null;
  readonly role: 'master' | 'replica' | null;
  /** 0: no limit. */
  readonly maxMemoryBytes: number | null;
  readonly evictionPolicy: string | null;
  readonly clock: ClockReading | null;
}

/** Connects, asks, and leaves. @throws KPIPE_REDIS_… within the deadline */
export async function probeRedis(url: Secret, deadlineMs: number): Promise<RedisFacts> {
  const { Redis } = await import('ioredis');
  const text = url.reveal();
  if (!URL.canParse(text)) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'redis.url is not a valid URL', {
      next: 'a password with special characters must be percent-encoded',
    });
  }
  const redis = new Redis(text, {
    lazyConnect: true,
    connectTimeout: deadlineMs,
    commandTimeout: deadlineMs,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: () => null,
    // Its timer is not cleared and would keep the process for 2 s.
    disconnectTimeout: 100,
  });
  let cause: unknown;
  // connect() only says that the connection is closed; the event says why.
  redis.on('error', (error) => {
    cause = error;
  });
  const address = addressOf(new URL(text));
  try {
    return await withDeadline(connectAndAsk(redis, address), deadlineMs, 'no answer');
  } catch (error) {
    throw redisFailure(address, cause ?? error);
  } finally {
    redis.disconnect();
  }
}

async function connectAndAsk(redis: Redis, address: string): Promise<RedisFacts> {
  await redis.connect();
  await redis.ping();
  const askedMs = Date.now();
  const time = await permitted(redis.time());
  const answeredMs = Date.now();
  const info = parseInfo((await permitted(redis.info())) ?? '');
  return {
    address,
    version: info.get('redis_version') ?? null,
    role: roleOf(info.get('role')),
    maxMemoryBytes: numberOf(info.get('maxmemory')),
    evictionPolicy: info.get('maxmemory_policy') ?? null,
    clock: time === null ? null : readClock(Number(time[0]) * 1000 + Number(time[1]) / 1000, askedMs, answeredMs),
  };
}

/** null where the user's ACL forbids the command. */
async function permitted<Value>(command: Promise<Value>): Promise<Value | null> {
  try {
    return await command;
  } catch (error) {
    if (messageOf(error).startsWith('NOPERM')) {
      return null;
    }
    throw error;
  }
}

function redisFailure(address: string, error: unknown): KpipeError {
  const message = messageOf(error);
  if (/^(?:NOAUTH|WRONGPASS|NOPERM)|invalid password/.test(message)) {
    return new KpipeError('KPIPE_REDIS_FAILED', `Redis refused to authenticate: ${message}`, {
      where: { host: address },
      next: 'check user and password of redis.url in kpipe.yaml',
      cause: error,
    });
  }
  const code = codeOf(error);
  const why =
    code === 'ECONNREFUSED'
      ? 'it refused the connection'
      : code === 'ENOTFOUND'
        ? 'the name cannot be resolved'
        : message;
  return new KpipeError('KPIPE_REDIS_UNREACHABLE', `Redis does not answer: ${why}`, {
    where: { host: address },
    next: 'is it running, and is redis.url in kpipe.yaml right?',
    cause: error,
  });
}

function addressOf(url: URL): string {
  return `${url.hostname}:${url.port === '' ? '6379' : url.port}${url.pathname === '' ? '/0' : url.pathname}`;
}

/** `key:value` lines of INFO. */
function parseInfo(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const];
    }),
  );
}

function roleOf(role: string | undefined): RedisFacts['role'] {
  return role === 'master' ? 'master' : role === 'slave' ? 'replica' : null;
}

function numberOf(text: string | undefined): number | null {
  return text === undefined || !/^\d+$/.test(text) ? null : Number(text);
}
