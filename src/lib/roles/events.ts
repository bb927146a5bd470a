import {
  createEventEncoder,
  openEventSink,
  projectedEventBytes,
  type EventSinkOptions,
  type ProjectedEvent,
} from '../postgres/event-sink.ts';
import { openPool } from '../postgres/pool.ts';
import type { Decoded } from '../records/decoded.ts';
import { createEventDecoder } from '../records/event.ts';
import { createProjector } from '../records/projection.ts';
import { openRedis, type Redis } from '../redis/client.ts';
import { createEntityCache, type EntityCache } from '../redis/entity-cache.ts';
import type { Decode } from '../runtime/batch.ts';
import type { Role } from '../runtime/role.ts';
import { applicationName, batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/**
 * Event Processor: topic events → kpipe.events and the operational tables, in one transaction with the position → the
 * changed rows into Redis, after the commit.
 */
export async function openEventsRole(environment: RoleEnvironment): Promise<Role<ProjectedEvent>> {
  const { config, admin, concurrency } = environment;
  const role = required(config.roles.events, 'roles.events', 'events');
  const postgres = required(config.postgres, 'postgres', 'events');
  const redis = await openCacheRedis(environment);
  const cache = redis === null ? null : entityCache(redis, environment);
  const pool = await openPool(postgres, { applicationName: applicationName('events'), max: concurrency + 1 });
  const sink = await openEventSink({
    role: 'events',
    pool,
    statementTimeoutMs: postgres.pool.statementTimeout,
    topicId: environment.topicId,
    startPosition: startPosition(admin, role.start),
    acceptRecreated: environment.acceptRecreated,
    projections: role.projections,
    ...(cache === null ? {} : tellCache(cache)),
  }).catch(async (error: unknown) => {
    redis?.disconnect();
    await pool.end();
    throw error;
  });
  return {
    name: 'events',
    topic: role.topic,
    deadLetterTopic: role.deadLetters,
    decode: decodeProjected(environment),
    sink: {
      ...sink,
      close: async () => {
        await cache?.close();
        redis?.disconnect();
        await sink.close();
      },
    },
    batch: batchLimits(role.batch),
    rowBytes: projectedEventBytes,
    breaker: role.deadLetterBreaker,
    drainDeadlineMs: role.drainDeadline,
  };
}

/** The cache hears of changed rows, after the commit. */
function tellCache(cache: EntityCache): Pick<EventSinkOptions, 'onProjected' | 'onRecreated'> {
  return {
    onProjected: async (partition, changes) => {
      await cache.apply(partition, changes);
    },
    onRecreated: () => cache.invalidate(),
  };
}

/** Record → event → what it does to the operational tables → COPY's bytes. */
function decodeProjected({ config }: RoleEnvironment): Decode<ProjectedEvent> {
  const role = required(config.roles.events, 'roles.events', 'events');
  const decode = createEventDecoder(role);
  const project = createProjector(role.projections, role.limits);
  const encode = createEventEncoder();
  return (record, partition): Decoded<ProjectedEvent> => {
    const decoded = decode(record);
    if (decoded.kind === 'dead') {
      return decoded;
    }
    const projected = project(decoded.row);
    return projected.kind === 'dead' ? projected : { kind: 'row', row: encode(decoded.row, partition, projected.row) };
  };
}

async function openCacheRedis({ config, notice }: RoleEnvironment): Promise<Redis | null> {
  if (config.redis === undefined || (config.roles.events?.cache?.entities.length ?? 0) === 0) {
    return null;
  }
  let told = false;
  return openRedis(config.redis, (error) => {
    if (!told) {
      told = true;
      notice(`Redis is away, rows go to PostgreSQL alone: ${error.message}`);
    }
  });
}

function entityCache(redis: Redis, { config, random }: RoleEnvironment): EntityCache {
  const role = required(config.roles.events, 'roles.events', 'events');
  return createEntityCache({
    redis,
    projections: role.projections,
    entities: role.cache?.entities ?? [],
    ttlMs: role.cache?.ttl ?? 300_000,
    random,
  });
}
