import type { AnalyticsRow } from '../bigquery/analytics-row.ts';
import { openAnalyticsSink } from '../bigquery/open-analytics-sink.ts';
import { createEventDecoder } from '../records/event.ts';
import type { Decode } from '../runtime/batch.ts';
import type { Role } from '../runtime/role.ts';
import { batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/** Analytics Pipeline: topic analytics → BigQuery. It opens no connection to PostgreSQL, and runs when that is down. */
export async function openAnalyticsRole(environment: RoleEnvironment): Promise<Role<AnalyticsRow>> {
  const { config, admin } = environment;
  const role = required(config.roles.analytics, 'roles.analytics', 'analytics');
  const sink = await openAnalyticsSink({
    config: required(config.bigquery, 'bigquery', 'analytics'),
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
    batch: batchLimits(role.batch),
    breaker: role.deadLetterBreaker,
    drainDeadlineMs: role.drainDeadline,
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
      row: { offset, id, source, type, subject, timeMicros, data, extensions, ingestedAtMs: now() },
    };
  };
}
