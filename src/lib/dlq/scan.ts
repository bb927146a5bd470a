import type { KafkaConfig } from '../config/load.ts';
import { RangeReader, stableRanges } from '../kafka/range-reader.ts';
import { partitionBounds } from '../offsets/resolve-offsets.ts';
import {
  partitionKey,
  type ClusterAdmin,
  type PartitionPosition,
  type SourceRecord,
  type TopicPartition,
} from '../ports.ts';
import type { Place } from './dead-letter.ts';

/** Nothing for so long, although there is more: the cluster is away. */
const silenceMs = 30_000;
/** Two places nearer than this are read in one go. */
const maxGap = 200n;

export function openTopicReader(config: KafkaConfig, topic: string): RangeReader {
  return new RangeReader(config, { topic, clientId: `${config.clientId}-dlq`, silenceMs });
}

/** The partitions of a topic; null: there is no such topic. @throws KPIPE_KAFKA_… */
export async function partitionsOf(admin: ClusterAdmin, topic: string): Promise<readonly TopicPartition[] | null> {
  const [description] = await admin.describeTopics([topic]);
  return description === undefined ? null : description.partitions.map(({ partition }) => ({ topic, partition }));
}

/**
 * Reads what a topic holds now, from `positions` on where given. Answers where each partition was read up to.
 * @throws the signal's reason when it is aborted; KPIPE_KAFKA_…
 */
export async function scanTopic(
  admin: ClusterAdmin,
  reader: RangeReader,
  partitions: readonly TopicPartition[],
  onRecord: (at: TopicPartition, record: SourceRecord) => void,
  options: { readonly signal: AbortSignal; readonly positions?: readonly PartitionPosition[] },
): Promise<readonly PartitionPosition[]> {
  const { signal } = options;
  const begun = new Map(options.positions?.map((each) => [partitionKey(each), each.position]));
  const bounds = await partitionBounds(admin, partitions);
  const ranges = await stableRanges(
    admin,
    bounds.map(({ topic, partition, logStart }) => {
      const position = begun.get(partitionKey({ topic, partition })) ?? logStart;
      return { topic, partition, from: position > logStart ? position : logStart, to: null };
    }),
  );
  for await (const batch of reader.read(ranges, signal)) {
    for (const record of batch.records) {
      onRecord(batch, record);
    }
  }
  signal.throwIfAborted();
  return ranges.map(({ topic, partition, from, to }) => ({ topic, partition, position: to > from ? to : from }));
}

/** The records at these places of the reader's topic, by place; those that are gone are absent. */
export async function readPlaces(
  admin: ClusterAdmin,
  reader: RangeReader,
  places: readonly Place[],
  signal: AbortSignal,
): Promise<(place: Place) => SourceRecord | undefined> {
  const found = new Map<string, SourceRecord>();
  const wanted = new Set(places.map(placeKey));
  const runs = runsOf(places);
  const rounds = Math.max(0, ...[...runs.values()].map((ofPartition) => ofPartition.length));
  for (let round = 0; round < rounds; round += 1) {
    const ranges = [...runs.values()].flatMap((ofPartition) => ofPartition[round] ?? []);
    const bounds = await partitionBounds(admin, ranges);
    const present = ranges.map((range, index) => {
      const logStart = bounds[index]?.logStart ?? range.from;
      return { ...range, from: range.from > logStart ? range.from : logStart };
    });
    for await (const { topic, partition, records } of reader.read(await stableRanges(admin, present), signal)) {
      for (const record of records) {
        const key = placeKey({ topic, partition, offset: record.offset });
        if (wanted.has(key)) {
          found.set(key, record);
        }
      }
    }
    signal.throwIfAborted();
  }
  return (place) => found.get(placeKey(place));
}

interface Run extends TopicPartition {
  readonly from: bigint;
  readonly to: bigint;
}

/** Of each partition the stretches to read, in order. */
function runsOf(places: readonly Place[]): ReadonlyMap<number, readonly Run[]> {
  const runs = new Map<number, Run[]>();
  const inOrder = places.toSorted((left, right) => (left.offset < right.offset ? -1 : 1));
  for (const { topic, partition, offset } of inOrder) {
    const ofPartition = runs.get(partition) ?? [];
    runs.set(partition, ofPartition);
    const last = ofPartition.at(-1);
    if (last !== undefined && offset - last.to < maxGap) {
      ofPartition[ofPartition.length - 1] = { ...last, to: offset + 1n };
    } else {
      ofPartition.push({ topic, partition, from: offset, to: offset + 1n });
    }
  }
  return runs;
}

function placeKey({ partition, offset }: Place): string {
  return `${partition}@${offset}`;
}
