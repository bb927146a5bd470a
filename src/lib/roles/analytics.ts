import type { AnalyticsRow } from '../bigquery/analytics-row.ts';
import { followConfig } from '../config/changes.ts';
import type { BigQueryConfig } from '../config/schema.ts';
import { openAnalyticsSink } from '../bigquery/open-analytics-sink.ts';
import { createEventDecoder } from '../records/event.ts';
import type { Decode } from '../runtime/batch.ts';
import type { Role } from '../runtime/role.ts';
import { batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/** Analytics Pipeline: topic analytics → BigQuery. It opens no connection to PostgreSQL, and runs when that is down. */
export async function openAnalyticsRole(environment: RoleEnvironment): Promise<Role<AnalyticsRow>> {
  const { config, admin, notice, now } = environment;
  const role = required(config.roles.analytics, 'roles.analytics', 'analytics');
  const bigquery = required(config.bigquery, 'bigquery', 'analytics');
  const configNow = followConfig(config, process.env, now);
  const sink = await openAnalyticsSink({
    config: bigquery,
    maxDepth: role.limits.maxDepth,
    declaredNow: async () => {
      const changed = await configNow();
      return changed === null ? null : (changed.bigquery?.columns ?? {});
    },
    notice,
    partitionCount: async () => {
      const [topic] = await admin.describeTopics([role.topic]);
      return topic?.partitions.length ?? 1;
    },
    startPosition: startPosition(admin, role.start),
    group: {
      committed: async ({ topic, partition }) => {
        const commits = await admin.committedOffsets(role.group);
        return commits.find((commit) => commit.topic === topic && commit.partition === partition) ?? null;
      },
    },
  });
  return {
    name: 'analytics',
    topic: role.topic,
    deadLetterTopic: role.deadLetters,
    decode: decodeAnalytics(environment),
    sink,
    breaker: role.deadLetterBreaker,
    ...boundsOf(role, bigquery),
  };
}

/** A load job takes what came since the one before: batches wait as long, and there is room for them. */
function boundsOf(
  role: NonNullable<RoleEnvironment['config']['roles']['analytics']>,
  { write, loadInterval }: BigQueryConfig,
): Pick<Role<AnalyticsRow>, 'batch' | 'drainDeadlineMs' | 'memoryBytes' | 'concurrency'> {
  const batch = batchLimits(role.batch);
  if (write === 'storage') {
    return { batch, drainDeadlineMs: role.drainDeadline };
  }
  return {
    batch: { ...batch, maxWaitMs: Math.max(batch.maxWaitMs, loadInterval) },
    // What is in hand leaves with the next job.
    drainDeadlineMs: role.drainDeadline + loadInterval,
    memoryBytes: 96 * 1024 * 1024,
    concurrency: 1024,
  };
}

function decodeAnalytics({ config, now }: RoleEnvironment): Decode<AnalyticsRow> {
  const decode = createEventDecoder(required(config.roles.analytics, 'roles.analytics', 'analytics'));
  return (record) => {
    const decoded = decode(record);
    if (decoded.kind === 'dead') {
      return decoded;
    }
    const { id, source, type, subject, time, data, extensions, offset } = decoded.row;
    const timeMicros = BigInt(time.ms) * 1000n + BigInt(time.micros);
    return {
      kind: 'row',
      row: {
        offset,
        id: id.view(),
        source: source.view(),
        type: type.view(),
        subject: subject?.view() ?? null,
        timeMicros,
        data: data?.view() ?? null,
        extensions: extensions?.view() ?? null,
        ingestedAtMs: now(),
      },
    };
  };
}
