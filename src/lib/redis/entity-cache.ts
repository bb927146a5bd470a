import type { ProjectionConfig } from '../config/schema.ts';
import type { ProjectionChange } from '../records/projection.ts';
import type { Redis } from './client.ts';

/**
 * The projected rows in Redis, written after the commit. Each entry is a hash {p, o, row}: the partition and offset of
 * the event it comes from, so that an older write never overwrites a newer one, and the row as JSON (empty: deleted).
 * Nothing lives only here: an entry that is missing is read from PostgreSQL.
 */
export interface EntityCacheOptions {
  readonly redis: Redis;
  readonly projections: readonly ProjectionConfig[];
  /** Tables (without schema) that are cached. */
  readonly entities: readonly string[];
  readonly ttlMs: number;
  readonly random: () => number;
  readonly now: () => number;
}

export interface EntityCache {
  /** Writes and invalidates what the changes touched. Never throws: answers how many entries were written. */
  apply(partition: number, changes: readonly ProjectionChange[]): Promise<number>;
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

/** After a failure Redis is left alone for this long: a dead one must not cost a timeout a batch. */
const restMs = 1000;
/** Commands in one pipeline: a long one would outlast the command timeout. */
const pipelineLength = 500;

/** `kpipe:entity:v1:orders:ord-17`. Keys of several columns are joined as a JSON list. */
export function entityKey(table: string, key: readonly string[]): string {
  const [only] = key;
  return `kpipe:entity:v1:${table}:${key.length === 1 && only !== undefined ? only : JSON.stringify(key)}`;
}

export function createEntityCache(options: EntityCacheOptions): EntityCache {
  const cached = new Set(options.entities);
  const tables = options.projections.map((projection) => projection.table.split('.')[1] ?? projection.table);
  let restUntil = 0;
  return {
    apply: async (partition, changes) => {
      const wanted = changes.filter((change) => cached.has(tables[change.projection] ?? ''));
      if (wanted.length === 0 || options.now() < restUntil) {
        return 0;
      }
      try {
        let written = 0;
        for (let at = 0; at < wanted.length; at += pipelineLength) {
          written += await writeEntries(options, tables, partition, wanted.slice(at, at + pipelineLength));
        }
        return written;
      } catch {
        restUntil = options.now() + restMs;
        return 0;
      }
    },
  };
}

async function writeEntries(
  options: EntityCacheOptions,
  tables: readonly string[],
  partition: number,
  changes: readonly ProjectionChange[],
): Promise<number> {
  const pipeline = options.redis.pipeline();
  for (const change of changes) {
    const projection = options.projections[change.projection];
    const table = tables[change.projection];
    if (projection === undefined || table === undefined) {
      continue;
    }
    // Up to a tenth shorter, so that entries written together do not expire together.
    const ttl = Math.max(1, Math.round(options.ttlMs * (1 - options.random() / 10)));
    const row = change.kind === 'delete' ? '' : JSON.stringify(rowOf(projection, change));
    pipeline.eval(writeIfNewer, 1, entityKey(table, change.key), String(partition), change.offset.toString(), row, ttl);
  }
  const replies = (await pipeline.exec()) ?? [];
  const failure = replies.find(([error]) => error !== null)?.[0];
  if (failure !== undefined && failure !== null) {
    throw failure;
  }
  return replies.filter(([, reply]) => reply === 1).length;
}

/** The row's columns by name, values in PostgreSQL's text form, as a SELECT would show them. */
function rowOf(projection: ProjectionConfig, change: ProjectionChange): Record<string, string | null> {
  const keys = Object.keys(projection.key).map((name, index) => [name, change.key[index] ?? null] as const);
  const columns = Object.keys(projection.columns).map((name, index) => [name, change.columns[index] ?? null] as const);
  return Object.fromEntries([...keys, ...columns]);
}
