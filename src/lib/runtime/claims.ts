import { KpipeError } from '../errors.ts';
import { AssignmentLostError, type Assignment, type ClusterAdmin, type TopicPartition } from '../ports.ts';
import { backoffMs, wait } from './backoff.ts';
import type { Claim, Sink, OffsetRow } from './sink.ts';

export interface ClaimOptions {
  /** Of the topic that the run began with. */
  readonly topicId: string;
  readonly skipLost: boolean;
  readonly random: () => number;
  readonly giveUp: AbortSignal;
  readonly onPaused: (partition: number, reason: KpipeError | null) => void;
}

/** Claims a partition, as often as the sink being away makes that necessary, and checks that its position can be read. */
export async function claimReadable<Row extends OffsetRow>(
  sink: Sink<Row>,
  admin: ClusterAdmin,
  assignment: Assignment,
  options: ClaimOptions,
): Promise<Claim> {
  for (let attempt = 1; ; attempt += 1) {
    if (!assignment.active) {
      throw new AssignmentLostError('the partition was lost while it was claimed');
    }
    try {
      await requireSameTopic(admin, assignment.topic, options.topicId);
      const claim = await insideLog(sink, admin, await sink.claim(assignment), options);
      options.onPaused(assignment.partition, null);
      return claim;
    } catch (error) {
      if (error instanceof AssignmentLostError || !isPassing(sink, error)) {
        throw error;
      }
      const described = error instanceof KpipeError ? error : sink.describe(error);
      options.onPaused(assignment.partition, described);
      await wait(backoffMs(attempt, { baseMs: 100, capMs: 5000 }, options.random), options.giveUp);
      if (options.giveUp.aborted) {
        throw described;
      }
    }
  }
}

function isPassing<Row extends OffsetRow>(sink: Sink<Row>, error: unknown): boolean {
  return error instanceof KpipeError ? error.code.endsWith('_UNREACHABLE') : sink.classify(error) === 'retry';
}

/** Not every client notices that a topic was deleted and made again; the old position would be read in the new one. */
async function requireSameTopic(admin: ClusterAdmin, topic: string, id: string): Promise<void> {
  const [found] = await admin.describeTopics([topic]);
  if (found !== undefined && found.id !== id) {
    throw new KpipeError('KPIPE_TOPIC_RECREATED', `topic ${topic} was deleted and made again while it was read`, {
      where: { topic },
      next: 'its offsets began anew: `--accept-recreated` starts at its beginning',
    });
  }
}

/** The log may have lost the position: by retention (records are gone), or because it ends before it. */
async function insideLog<Row extends OffsetRow>(
  sink: Sink<Row>,
  admin: ClusterAdmin,
  claim: Claim,
  options: ClaimOptions,
): Promise<Claim> {
  const [logStart, logEnd] = await Promise.all([
    logOffset(admin, claim, 'earliest'),
    logOffset(admin, claim, 'latest'),
  ]);
  if (claim.position > logEnd) {
    throw new KpipeError('KPIPE_RECORDS_LOST', `the log ends at ${logEnd}, before the position ${claim.position}`, {
      where: { topic: claim.topic, partition: claim.partition },
      next: 'the topic was truncated: `kpipe replay` sets a position that exists',
    });
  }
  if (claim.position >= logStart) {
    return claim;
  }
  if (!options.skipLost) {
    throw recordsLost(claim, claim.position, logStart);
  }
  const { topic, partition, position } = claim;
  const gaps = Number(logStart - position);
  const skip = { topic, partition, position, nextPosition: logStart, rows: [], deadLetters: 0, skipped: 0, gaps };
  const outcome = await sink.write(claim, skip);
  if (outcome.kind === 'fenced') {
    throw new AssignmentLostError('the partition was claimed by another consumer');
  }
  return { ...claim, position: logStart };
}

/** Where a partition's log begins or ends. @throws KPIPE_KAFKA_UNREACHABLE when the cluster does not say */
export async function logOffset(
  admin: ClusterAdmin,
  { topic, partition }: TopicPartition,
  query: 'earliest' | 'latest',
): Promise<bigint> {
  const [answer] = await admin.listOffsets([{ topic, partition }], query);
  if (answer === undefined || answer.offset === null) {
    throw new KpipeError('KPIPE_KAFKA_UNREACHABLE', `Kafka names no ${query} offset`, { where: { topic, partition } });
  }
  return answer.offset;
}

function recordsLost({ topic, partition }: TopicPartition, position: bigint, logStart: bigint): KpipeError {
  return new KpipeError(
    'KPIPE_RECORDS_LOST',
    `offsets ${position} to ${logStart - 1n} were deleted from the log before they were read`,
    {
      where: { topic, partition },
      next: 'raise the retention; `--skip-lost` goes on at the oldest record that is left',
    },
  );
}
