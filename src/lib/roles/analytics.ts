import type { AnalyticsRow } from '../bigquery/analytics-row.ts';
import { openAnalyticsSink, type OpenedAnalyticsSink } from '../bigquery/open-analytics-sink.ts';
import { AssignmentLostError, type Assignment } from '../ports.ts';
import { createEventDecoder } from '../records/event.ts';
import type { Decode } from '../runtime/batch.ts';
import type { Role } from '../runtime/role.ts';
import type { Sink } from '../runtime/sink.ts';
import { batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/** Analytics Pipeline: topic analytics → BigQuery. It opens no connection to PostgreSQL, and runs when that is down. */
export async function openAnalyticsRole(environment: RoleEnvironment): Promise<Role<AnalyticsRow>> {
  const { config, admin } = environment;
  const role = required(config.roles.analytics, 'roles.analytics', 'analytics');
  const assignments = new Map<number, Assignment>();
  const sink = await openAnalyticsSink({
    config: required(config.bigquery, 'bigquery', 'analytics'),
    startPosition: startPosition(admin, role.start),
    group: {
      committed: async ({ topic, partition }) => {
        const commits = await admin.committedOffsets(role.group);
        return commits.find((commit) => commit.topic === topic && commit.partition === partition) ?? null;
      },
      assignment: ({ partition }) => {
        const assignment = assignments.get(partition);
        if (assignment === undefined) {
          throw new AssignmentLostError('the partition is not assigned');
        }
        return assignment;
      },
    },
  });
  return {
    name: 'analytics',
    topic: role.topic,
    deadLetterTopic: role.deadLetters,
    decode: decodeAnalytics(environment),
    sink: rememberAssignments(sink, assignments),
    batch: batchLimits(role.batch),
    breaker: role.deadLetterBreaker,
    drainDeadlineMs: role.drainDeadline,
  };
}

function rememberAssignments(sink: OpenedAnalyticsSink, assignments: Map<number, Assignment>): Sink<AnalyticsRow> {
  return {
    commitsToGroup: sink.commitsToGroup,
    claim: (assignment) => {
      assignments.set(assignment.partition, assignment);
      return sink.claim(assignment);
    },
    write: (claim, batch) => sink.write(claim, batch),
    classify: (error) => sink.classify(error),
    describe: (error) => sink.describe(error),
    close: () => sink.close(),
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
