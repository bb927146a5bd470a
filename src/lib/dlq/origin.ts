import type { KafkaConfig } from '../config/load.ts';
import type { ClusterAdmin, SourceRecord } from '../ports.ts';
import type { DeadLetter } from './dead-letter.ts';
import { openTopicReader, partitionsOf, readPlaces } from './scan.ts';

/**
 * The record of a letter that only points to it, from where it failed; null when it is not there any more, or when
 * another one is: the topic may have been made again.
 */
export async function originOf(
  kafka: KafkaConfig,
  admin: ClusterAdmin,
  { source, sourceTimestampMs, omittedBytes }: Pick<DeadLetter, 'source' | 'sourceTimestampMs' | 'omittedBytes'>,
  signal: AbortSignal,
): Promise<SourceRecord | null> {
  const partitions = await partitionsOf(admin, source.topic);
  if (partitions?.some(({ partition }) => partition === source.partition) !== true) {
    return null;
  }
  const reader = openTopicReader(kafka, source.topic);
  try {
    const record = (await readPlaces(admin, reader, [source], signal))(source);
    const isSame =
      record !== undefined &&
      (record.value?.length ?? 0) === omittedBytes &&
      (sourceTimestampMs === null || record.timestampMs === sourceTimestampMs);
    return isSame ? record : null;
  } finally {
    await reader.close();
  }
}
