import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { Assignment, GroupAdmin } from '../ports.ts';
import { openAnalyticsSink } from './open-analytics-sink.ts';

export interface IntentsOf {
  readonly group: string;
  readonly topic: string;
  readonly partitions: readonly number[];
}

/**
 * Finishes the batches that a group without members has left half-way into BigQuery: what the partitions' next consumer
 * would do first. Commits as nobody's member, which the coordinator lets happen only while the group has none.
 * @throws KPIPE_BIGQUERY_…, KPIPE_REFUSED when the group has members
 */
export async function finishIntents(
  config: Config['bigquery'],
  admin: GroupAdmin,
  { group, topic, partitions }: IntentsOf,
): Promise<void> {
  if (config === undefined) {
    throw new KpipeError(
      'KPIPE_CONFIG_INVALID',
      'a batch is half-way into BigQuery, and kpipe.yaml has no bigquery section',
    );
  }
  const committed = await admin.committedOffsets(group);
  const sink = await openAnalyticsSink({
    config,
    group: {
      committed: (at) =>
        Promise.resolve(
          committed.find((commit) => commit.topic === at.topic && commit.partition === at.partition) ?? null,
        ),
    },
    startPosition: () => Promise.resolve(0n),
    partitionCount: () => Promise.resolve(partitions.length),
    // It writes no rows.
    maxDepth: 0,
  });
  try {
    for (const partition of partitions) {
      const assignment: Assignment = {
        topic,
        partition,
        active: true,
        commit: (offset, metadata) =>
          admin.commitOffsets(group, [{ topic, partition, offset, ...(metadata === undefined ? {} : { metadata }) }]),
      };
      await sink.claim(assignment);
    }
  } finally {
    await sink.close();
  }
}
