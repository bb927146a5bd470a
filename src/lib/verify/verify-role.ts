import type { Config } from '../config/load.ts';
import type { RoleName } from '../config/schema.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { openPool, type Pool } from '../postgres/pool.ts';
import { countRows, offsetsWithoutRow, offsetsWithRepeats, type VerifiedTable } from '../postgres/verify-counts.ts';
import { changedEvents, changedLogs, repeatedEvents } from '../postgres/verify-rows.ts';
import { createEventDecoder, type EventRow } from '../records/event.ts';
import { createLogDecoder, type LogRow } from '../records/log.ts';
import { required } from '../roles/environment.ts';
import type { RowQuestions } from './compare.ts';
import { requireTopics, topicReader } from './topic-edges.ts';
import { verifyAnalytics } from './verify-analytics.ts';
import { verify, type VerifyEdges, type VerifyOptions, type VerifyResult } from './verify.ts';

/**
 * Proves, or disproves, that everything that a role has read has had its effect. It changes nothing, and the role may run.
 * @throws KPIPE_CONFIG_INVALID, KPIPE_TOPIC_MISSING, KPIPE_SCHEMA_MISSING, KPIPE_…_UNREACHABLE; KPIPE_USAGE: no --deep here
 */
export function verifyRole(config: Config, name: RoleName, options: VerifyOptions): Promise<VerifyResult> {
  return name === 'analytics' ? verifyAnalytics(config, options) : verifyPostgresRole(config, name, options);
}

async function verifyPostgresRole(
  config: Config,
  name: 'events' | 'logs',
  options: VerifyOptions,
): Promise<VerifyResult> {
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
      readTopic: topicReader(config.kafka, admin, options.signal),
    } satisfies Partial<VerifyEdges<never>>;
    return name === 'events'
      ? await verify({ ...common, ...eventQuestions(config, pool, table) }, options)
      : await verify({ ...common, ...logQuestions(config, pool, table, counts.oldestDayMs) }, options);
  } finally {
    await Promise.allSettled([pool.end(), admin.close()]);
  }
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
