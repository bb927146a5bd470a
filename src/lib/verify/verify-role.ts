import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { RangeReader, stableRanges } from '../kafka/range-reader.ts';
import type { ClusterAdmin } from '../ports.ts';
import { openPool, type Pool } from '../postgres/pool.ts';
import { countRows, offsetsWithoutRow, offsetsWithRepeats, type VerifiedTable } from '../postgres/verify-counts.ts';
import { changedEvents, changedLogs, repeatedEvents } from '../postgres/verify-rows.ts';
import { createEventDecoder, type EventRow } from '../records/event.ts';
import { createLogDecoder, type LogRow } from '../records/log.ts';
import { required } from '../roles/environment.ts';
import type { RowQuestions } from './compare.ts';
import { verify, type VerifyEdges, type VerifyOptions, type VerifyResult } from './verify.ts';

export type VerifiedRole = 'events' | 'logs';

/**
 * Proves, or disproves, that everything that a role has read has had its effect. It changes nothing, and the role may run.
 * @throws KPIPE_CONFIG_INVALID, KPIPE_TOPIC_MISSING, KPIPE_SCHEMA_MISSING, KPIPE_…_UNREACHABLE
 */
export async function verifyRole(config: Config, name: VerifiedRole, options: VerifyOptions): Promise<VerifyResult> {
  const settings = required(config.roles[name], `roles.${name}`, name);
  const postgres = required(config.postgres, 'postgres', name);
  const admin = await openKafkaAdmin(config.kafka);
  const pool = await openPool(postgres, { applicationName: `kpipe:verify:${name}`, max: 1 });
  try {
    const topicId = await requireTopics(admin, [settings.topic, settings.deadLetters]);
    const table = { role: name, topic: settings.topic, topicId, table: `kpipe.${name}` } as const;
    const counts = await countRows(pool, table);
    const common = {
      role: name,
      topic: settings.topic,
      deadLetterTopic: settings.deadLetters,
      admin,
      counts,
      repeatedAt: (partition, range) => offsetsWithRepeats(pool, table, partition, range),
      readTopic: topicReader(config, admin, options.signal),
    } satisfies Partial<VerifyEdges<never>>;
    return name === 'events'
      ? await verify({ ...common, ...eventQuestions(config, pool, table) }, options)
      : await verify({ ...common, ...logQuestions(config, pool, table, counts.oldestDayMs) }, options);
  } finally {
    await Promise.allSettled([pool.end(), admin.close()]);
  }
}

/** Answers the id of the first. */
async function requireTopics(admin: ClusterAdmin, names: readonly [string, string]): Promise<string> {
  const found = await admin.describeTopics(names);
  const missing = names.filter((name) => !found.some((topic) => topic.name === name));
  const topic = found.find(({ name }) => name === names[0]);
  if (missing.length > 0 || topic === undefined) {
    throw new KpipeError('KPIPE_TOPIC_MISSING', `the topic ${missing.join(' and ')} is not there`, {
      next: '`kpipe topics list` shows what exists',
    });
  }
  return topic.id;
}

/** A cluster that is away fails the verification: what is not known does not balance. */
function topicReader(config: Config, admin: ClusterAdmin, signal: AbortSignal): VerifyEdges<never>['readTopic'] {
  return async (topic, ranges, onRecords) => {
    const trouble = new AbortController();
    const either = AbortSignal.any([signal, trouble.signal]);
    const onTrouble = (reason: KpipeError | null): void => {
      if (reason !== null) {
        trouble.abort(reason);
      }
    };
    const reader = new RangeReader(config.kafka, { topic, onTrouble });
    try {
      const stable = await stableRanges(
        admin,
        ranges.map((range) => ({ topic, ...range })),
      );
      for await (const batch of reader.read(stable, either)) {
        await onRecords(batch.records, batch);
      }
    } finally {
      await reader.close();
    }
    either.throwIfAborted();
  };
}

function eventQuestions(config: Config, pool: Pool, table: VerifiedTable): RowQuestions<EventRow> {
  return {
    decode: createEventDecoder(required(config.roles.events, 'roles.events', 'events')),
    offsetOf: ({ offset }) => offset,
    holes: (partition, range) => offsetsWithoutRow(pool, table, partition, range),
    repeats: (rows) => repeatedEvents(pool, rows),
    isExpired: () => false,
    changed: (partition, rows) => changedEvents(pool, table.topic, partition, rows),
  };
}

function logQuestions(
  config: Config,
  pool: Pool,
  table: VerifiedTable,
  oldestDayMs: number | null,
): RowQuestions<LogRow> {
  return {
    decode: createLogDecoder(required(config.roles.logs, 'roles.logs', 'logs')),
    offsetOf: ({ offset }) => offset,
    holes: (partition, range) => offsetsWithoutRow(pool, table, partition, range),
    // A line has no identity but its place.
    repeats: () => Promise.resolve(new Set()),
    isExpired: ({ lines, recordTimeMs }) =>
      oldestDayMs !== null && lines.every(({ time }) => (time?.ms ?? recordTimeMs) < oldestDayMs),
    changed: (partition, rows) => changedLogs(pool, table.topic, partition, rows, oldestDayMs),
  };
}
