import { KpipeError } from '../../errors.ts';
import type { PartitionPosition, TopicPartition } from '../../ports.ts';
import type { KafkaConnections } from '../connections.ts';
import { callFailure } from '../failures.ts';
import { listOffsets } from '../offset-requests.ts';

/**
 * A broker says that the position is not in its log: looks where the log begins and ends. A position beyond the end counts
 * only when `isSure`, since a leader that has just been elected learns the end from its followers.
 * @throws KPIPE_RECORDS_LOST naming the range; what `listOffsets` throws
 */
export async function checkInsideLog(
  kafka: KafkaConnections,
  asked: PartitionPosition,
  isSure: boolean,
): Promise<void> {
  const { topic, partition, position } = asked;
  const [earliest, latest] = await Promise.all([
    listOffsets(kafka, [asked], 'earliest'),
    listOffsets(kafka, [asked], 'latest'),
  ]);
  const logStart = earliest[0]?.offset ?? null;
  const logEnd = latest[0]?.offset ?? null;
  if (logStart !== null && position < logStart) {
    throw new KpipeError(
      'KPIPE_RECORDS_LOST',
      `offsets ${position} to ${logStart - 1n} were deleted from the log before they were read`,
      {
        where: { topic, partition, lostFrom: position, lostTo: logStart - 1n },
        next: 'raise the retention; `--skip-lost` goes on at the oldest record that is left',
      },
    );
  }
  if (logEnd !== null && position > logEnd && isSure) {
    throw truncatedTo(asked, logEnd);
  }
}

/** The log ends, or parts from what was read, before the position: a leader without those records was elected. */
export function truncatedTo({ topic, partition, position }: PartitionPosition, end: bigint): KpipeError {
  return new KpipeError(
    'KPIPE_RECORDS_LOST',
    `the log was cut back to ${end}: offsets ${end} to ${position - 1n}, which were read, are gone from it`,
    {
      where: { topic, partition, lostFrom: end, lostTo: position - 1n },
      next: 'an out-of-sync replica became leader (unclean.leader.election.enable); `kpipe replay` sets a position that exists',
    },
  );
}

/** The broker refuses to read there, and says `name`: authorization, or a log that is damaged on its disk. */
export function refused({ topic, partition, position }: PartitionPosition, name: string): KpipeError {
  const said = { apiId: name, request: 'Fetch', serverErrorMessage: `at offset ${position}` };
  return callFailure(`reading ${topic}`, Object.assign(new Error(name), said), { topic, partition, offset: position });
}

/** What stands in the log is no record batch as every broker since Kafka 0.11 writes them. */
export function foreignFormat(
  { topic, partition }: TopicPartition,
  found: { offset: bigint; magic: number },
): KpipeError {
  const { offset, magic } = found;
  return new KpipeError(
    'KPIPE_KAFKA_FAILED',
    `what stands at offset ${offset} is no record batch of format 2 but of ${magic}`,
    {
      where: { topic, partition, offset },
      next: 'formats 0 and 1 are from before Kafka 0.11: copy the topic with a recent producer',
    },
  );
}
