import type { ProjectionConfig } from '../config/schema.ts';
import type { ProjectionChange } from '../records/projection.ts';
import type { Redis } from './client.ts';
import { MissedChanges, type VersionedChange } from './missed-changes.ts';

/**
 * The projected rows in Redis, written after the commit. Each entry is a hash {p, o, row}: the partition and offset of
 * the event it comes from, so that an older write never overwrites a newer one, and the row as JSON (empty: deleted).
 * Nothing lives only here: an entry that is missing is read from PostgreSQL.
 */
export interface EntityCacheOptions {
  readonly redis: Redis;
  readonly projections: readonly ProjectionConfig[];
  /** Tables that are cached, without schema: of each schema that a projection writes. */
  readonly entities: readonly string[];
  readonly ttlMs: number;
  readonly random: () => number;
}

export interface EntityCache {
  /**
   * Writes and invalidates what the changes touched. Never throws: answers how many entries were written. What Redis could
   * not be told it is told when it answers again, so that no entry stays older than its row.
   */
  apply(partition: number, changes: readonly ProjectionChange[]): Promise<number>;
  /** Any entry may be wrong: all of them go, as soon as Redis answers. */
  invalidate(): void;
  /** Tries once more what Redis could not be told. */
  close(): Promise<void>;
}

/** KEYS[1] entry; ARGV: partition, offset (decimal text), row, ttl in ms. Answers 1 when it was newer. */
const writeIfNewer = `
local p, o = unpack(redis.call('HMGET', KEYS[1], 'p', 'o'))
if p and (tonumber(p) > tonumber(ARGV[1]) or (p == ARGV[1] and (#o > #ARGV[2] or (#o == #ARGV[2] and o >= ARGV[2])))) then
  return 0
end
redis.call('HSET', KEYS[1], 'p', ARGV[1], 'o', ARGV[2], 'row', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`;

/** After a failure Redis is asked again this often, and not by every batch: a dead one must not cost a timeout each. */
const retryMs = 1000;
/** For changes that Redis could not be told. */
const maxMissedBytes = 8 * 1024 * 1024;
/** Commands in one pipeline: a long one would outlast the command timeout. */
const pipelineLength = 500;

/**
 * `kpipe:entity:v1:orders:ord-17` for a row of public.orders, `kpipe:entity:v1:sales.orders:ord-17` for one of another
 * schema. Keys of several columns are joined as a JSON list.
 */
export function entityKey(table: string, key: readonly string[]): string {
  const [only] = key;
  return `${prefixOf(table)}${key.length === 1 && only !== undefined ? only : JSON.stringify(key)}`;
}

/** Table names are plain: nothing in them is a pattern. */
function prefixOf(table: string): string {
  return `kpipe:entity:v1:${table.replace(/^public\./, '')}:`;
}

export function createEntityCache(options: EntityCacheOptions): EntityCache {
  return new RedisEntityCache(options);
}

type Entry = readonly [string, VersionedChange];

/**
 * Two states: *in time*: a batch's changes are written at once. *Behind*, after a failure: they are only remembered, and
 * a timer tries to make them up; when nothing is left it is in time again.
 */
class RedisEntityCache implements EntityCache {
  readonly #options: EntityCacheOptions;
  /** By projection: its table, or null where that is not cached. */
  readonly #tables: readonly (string | null)[];
  readonly #missed = new MissedChanges(maxMissedBytes);
  readonly #onReady = (): void => void this.#meet();
  #timer: NodeJS.Timeout | null = null;
  #makingUp: Promise<void> | null = null;
  /** Of the Redis that was there last; undefined before the first. */
  #runId: string | undefined;

  constructor(options: EntityCacheOptions) {
    this.#options = options;
    this.#tables = options.projections.map(({ table }) => (isCached(options, table) ? table : null));
    options.redis.on('ready', this.#onReady);
    if (options.redis.status === 'ready') {
      void this.#meet();
    }
  }

  async apply(partition: number, changes: readonly ProjectionChange[]): Promise<number> {
    // Of a row that one event changes twice, by two projections, the last: both have the same version.
    const last = new Map<string, VersionedChange>();
    for (const change of changes) {
      const table = this.#tables[change.projection] ?? null;
      if (table !== null) {
        last.set(entityKey(table, change.key), { partition, change });
      }
    }
    const entries: readonly Entry[] = [...last];
    if (this.#isBehind) {
      this.#miss(entries);
      return 0;
    }
    let written = 0;
    for (let at = 0; at < entries.length; at += pipelineLength) {
      try {
        written += await writeEntries(this.#options, entries.slice(at, at + pipelineLength));
      } catch {
        this.#miss(entries.slice(at));
        break;
      }
    }
    return written;
  }

  invalidate(): void {
    this.#missed.addAll();
    this.#makeUpIn(0);
  }

  async close(): Promise<void> {
    this.#options.redis.off('ready', this.#onReady);
    if (this.#isBehind) {
      await this.#makeUp();
    }
    this.#stopTimer();
  }

  get #isBehind(): boolean {
    return this.#timer !== null || this.#makingUp !== null;
  }

  #miss(entries: readonly Entry[]): void {
    for (const [key, missed] of entries) {
      this.#missed.add(key, missed);
    }
    if (entries.length > 0) {
      this.#makeUpIn(retryMs);
    }
  }

  #stopTimer(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  #makeUpIn(ms: number): void {
    if (this.#makingUp === null && (this.#timer === null || ms === 0)) {
      this.#stopTimer();
      this.#timer = setTimeout(() => void this.#makeUp(), ms).unref();
    }
  }

  #makeUp(): Promise<void> {
    this.#stopTimer();
    this.#makingUp ??= this.#tellMissed().finally(() => {
      this.#makingUp = null;
      if (!this.#missed.isEmpty) {
        this.#makeUpIn(retryMs);
      }
    });
    return this.#makingUp;
  }

  async #tellMissed(): Promise<void> {
    if (this.#missed.takeAll()) {
      try {
        await removeEntries(this.#options);
      } catch {
        this.#missed.addAll();
        return;
      }
    }
    const entries = this.#missed.entries();
    for (let at = 0; at < entries.length; at += pipelineLength) {
      const part = entries.slice(at, at + pipelineLength);
      try {
        await writeEntries(this.#options, part);
      } catch {
        return;
      }
      part.forEach(([key, missed]) => this.#missed.made(key, missed));
    }
  }

  /** Another Redis than before, or the same started again, may have come back with a snapshot's old entries. */
  async #meet(): Promise<void> {
    const before = this.#runId;
    const info = await this.#options.redis.info('server').catch(() => '');
    // Unknown where its user may not ask, and unknown is not the same as before.
    this.#runId = /^run_id:(\w+)/m.exec(info)?.[1] ?? '';
    if (before !== undefined && (this.#runId === '' || this.#runId !== before)) {
      this.invalidate();
    }
  }
}

function isCached({ entities }: EntityCacheOptions, table: string): boolean {
  return entities.includes(table.split('.')[1] ?? table);
}

/** SCAN, not KEYS: others wait for no command of ours. @throws what the driver throws */
async function removeEntries(options: EntityCacheOptions): Promise<void> {
  const { redis, projections } = options;
  for (const table of new Set(projections.map((projection) => projection.table))) {
    if (!isCached(options, table)) {
      continue;
    }
    for (let cursor = ''; cursor !== '0';) {
      const [next, keys] = await redis.scan(cursor || '0', 'MATCH', `${prefixOf(table)}*`, 'COUNT', 1000);
      if (keys.length > 0) {
        await redis.unlink(...keys);
      }
      cursor = next;
    }
  }
}

async function writeEntries(options: EntityCacheOptions, entries: readonly Entry[]): Promise<number> {
  const pipeline = options.redis.pipeline();
  for (const [key, { partition, change }] of entries) {
    const projection = options.projections[change.projection];
    if (projection === undefined) {
      continue;
    }
    // Up to a tenth shorter, so that entries written together do not expire together.
    const ttl = Math.max(1, Math.round(options.ttlMs * (1 - options.random() / 10)));
    const row = change.kind === 'delete' ? '' : JSON.stringify(rowOf(projection, change));
    pipeline.eval(writeIfNewer, 1, key, String(partition), change.offset.toString(), row, ttl);
  }
  const replies = (await pipeline.exec()) ?? [];
  const failure = replies.find(([error]) => error !== null)?.[0];
  if (failure !== undefined && failure !== null) {
    throw failure;
  }
  return replies.filter(([, reply]) => reply === 1).length;
}

/** The row's columns by name, values in PostgreSQL's text form, as a SELECT would show them. */
function rowOf(projection: ProjectionConfig, change: ProjectionChange): Readonly<Record<string, string | null>> {
  if (change.row !== undefined) {
    return change.row;
  }
  const keys = Object.keys(projection.key).map((name, index) => [name, change.key[index] ?? null] as const);
  const columns = Object.keys(projection.columns).map((name, index) => [name, change.columns[index] ?? null] as const);
  return Object.fromEntries([...keys, ...columns]);
}
