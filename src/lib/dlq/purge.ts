import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import { partitionBounds } from '../offsets/resolve-offsets.ts';
import { deadLetterTopics } from './dead-letter-topics.ts';
import { isOfRole } from './list.ts';
import { PurgePlanner, type PurgeCut, type PurgeLoss } from './purge-plan.ts';
import { openTopicReader, partitionsOf, scanTopic } from './scan.ts';
import type { Selection } from './selection.ts';

export interface PurgeRequest {
  readonly role: string;
  readonly selection: Selection;
  /** Only what was redriven; then the selection does not count. */
  readonly redrivenOnly: boolean;
}

export interface PurgePlan {
  readonly role: string;
  readonly deadLetterTopic: string;
  /** The partitions that would lose something. */
  readonly cuts: readonly PurgeCut[];
  readonly loss: PurgeLoss;
  readonly isMissing: boolean;
}

export interface PurgeReport extends PurgePlan {
  readonly dryRun: boolean;
  readonly purged: boolean;
}

const nothing: PurgeLoss = { dead: 0, quarantined: 0, redriven: 0, foreign: 0, byReason: {}, behind: 0 };

/** What a purge would delete; changes nothing. @throws KPIPE_USAGE, KPIPE_KAFKA_…; the signal's reason */
export function planPurge(config: Config, request: PurgeRequest, signal: AbortSignal): Promise<PurgePlan> {
  const { role, selection, redrivenOnly } = request;
  const [found] = deadLetterTopics(config, role);
  const topic = found?.topic ?? '';
  return withKafkaAdmin(config.kafka, async (admin) => {
    const partitions = await partitionsOf(admin, topic);
    if (partitions === null) {
      return { role, deadLetterTopic: topic, cuts: [], loss: nothing, isMissing: true };
    }
    const planner = new PurgePlanner({
      matches: (letter) => !redrivenOnly && isOfRole(letter, role) && selection.matches(letter),
      matchesForeign: (atMs) => !redrivenOnly && selection.matchesForeign(atMs),
    });
    const bounds = await partitionBounds(admin, partitions);
    const reader = openTopicReader(config.kafka, topic);
    try {
      const read = await scanTopic(admin, reader, partitions, (at, record) => planner.add(at, record), { signal });
      const ends = read.map(({ partition, position }, index) => ({
        topic,
        partition,
        from: bounds[index]?.logStart ?? 0n,
        to: position,
      }));
      const { cuts, loss } = planner.plan(ends);
      return {
        role,
        deadLetterTopic: topic,
        cuts: cuts.filter(({ from, to }) => from < to),
        loss,
        isMissing: false,
      };
    } finally {
      await reader.close();
    }
  });
}

/** Deletes what the plan says, for good. @throws KPIPE_PARTLY_DONE, KPIPE_KAFKA_… */
export function purge(config: Config, plan: PurgePlan): Promise<PurgeReport> {
  return withKafkaAdmin(config.kafka, async (admin) => {
    const positions = plan.cuts.map(({ topic, partition, to }) => ({ topic, partition, position: to }));
    const begins = await admin.deleteRecords(positions);
    const behind = positions.filter(
      ({ partition, position }) => (begins.find((begin) => begin.partition === partition)?.position ?? -1n) < position,
    );
    if (behind.length > 0) {
      throw new KpipeError(
        'KPIPE_PARTLY_DONE',
        `${behind.length} of ${positions.length} partitions still begin before`,
        {
          where: { topic: plan.deadLetterTopic, partitions: behind.map(({ partition }) => partition).join(',') },
          next: 'run it again',
        },
      );
    }
    return { ...plan, dryRun: false, purged: positions.length > 0 };
  });
}
