import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import { topicMissing } from '../kafka/produce-errors.ts';
import { RangeReader, stableRanges, type PartitionRange } from '../kafka/range-reader.ts';
import type { RangeBatch } from '../kafka/range-batch.ts';
import type { OffsetRange } from '../offsets/offset-spec.ts';
import { resolveRange, type ResolvedRange } from '../offsets/resolve-offsets.ts';
import type { ClusterAdmin, SourceRecord, TopicPartition } from '../ports.ts';
import type { WhereRecord } from '../where/where.ts';

export interface TailRequest {
  readonly topic: string;
  readonly range: OffsetRange;
  /** undefined: all of them. */
  readonly partitions?: readonly number[] | undefined;
  readonly where?: ((record: WhereRecord) => boolean) | undefined;
  /** Ends after so many records that match. */
  readonly max?: number | undefined;
}

/** What was read, whatever matched. */
export interface TailCounts {
  readonly topic: string;
  readonly read: number;
  readonly matched: number;
  readonly partitions: readonly TailPartition[];
  readonly seconds: number;
}

export interface TailPartition {
  readonly partition: number;
  readonly from: bigint;
  /** Read up to here. */
  readonly position: bigint;
  /** Offsets that went from the log before they were read. */
  readonly lost: number;
}

export interface TailOptions {
  readonly signal: AbortSignal;
  /** Takes a record that matches; more is read when it resolves. */
  readonly onRecord: (at: TopicPartition, record: SourceRecord) => Promise<void> | void;
  /** Something the reader should know: places that were moved, records that are gone or cannot be read. */
  readonly onNote: (note: string) => void;
}

/** A bounded read that hears nothing for so long, although there is more, fails. */
const silenceMs = 30_000;

/**
 * Reads a topic as nobody's member: nothing is committed. What there is comes first, merged by time over the partitions;
 * without an end it then follows, in the order of arrival, until the signal.
 * @throws KPIPE_TOPIC_MISSING, KPIPE_USAGE (no such partition), KPIPE_KAFKA_…
 */
export function tailTopic(config: Config, request: TailRequest, options: TailOptions): Promise<TailCounts> {
  return withKafkaAdmin(config.kafka, async (admin) => {
    const partitions = await chosenPartitions(admin, request);
    const resolved = await resolveRange(admin, partitions, request.range);
    for (const note of movedNotes(resolved)) {
      options.onNote(note);
    }
    const follows = request.range.to === null;
    const ranges = resolved.map(({ topic, partition, from, to }) => ({
      topic,
      partition,
      from: from.position,
      to: to?.position ?? null,
    }));
    const present = await stableRanges(admin, ranges);
    const tail = new Tail(request, options, ranges);
    const reader = new RangeReader(config.kafka, {
      topic: request.topic,
      clientId: `${config.kafka.clientId}-tail`,
      ...(follows ? {} : { silenceMs }),
      onTrouble: (reason) => options.onNote(reason === null ? 'reading on' : reason.message),
    });
    try {
      await tail.take(reader.readByTime(present, tail.signal));
      if (follows) {
        const ahead = present.map((range) => ({
          ...range,
          from: range.to > range.from ? range.to : range.from,
          to: null,
        }));
        await tail.take(reader.read(ahead, tail.signal));
      }
    } finally {
      await reader.close();
    }
    return tail.counts();
  });
}

async function chosenPartitions(
  admin: ClusterAdmin,
  { topic, partitions: wanted }: TailRequest,
): Promise<readonly TopicPartition[]> {
  const [description] = await admin.describeTopics([topic]);
  if (description === undefined) {
    throw topicMissing(topic);
  }
  const present = description.partitions.map(({ partition }) => partition);
  const unknown = wanted?.find((partition) => !present.includes(partition));
  if (unknown !== undefined) {
    throw new KpipeError('KPIPE_USAGE', `${topic} has no partition ${unknown}`, {
      where: { topic },
      next: `it has ${present.length}: 0 to ${present.length - 1}`,
    });
  }
  return (wanted === undefined ? present : [...new Set(wanted)]).map((partition) => ({ topic, partition }));
}

/** One line a kind of move, naming the partitions. */
function movedNotes(ranges: readonly ResolvedRange[]): readonly string[] {
  const where = (chosen: readonly ResolvedRange[]): string =>
    chosen.length === ranges.length && chosen.length > 1
      ? 'every partition'
      : `partition ${chosen.map(({ partition }) => partition).join(', ')}`;
  const note = (chosen: readonly ResolvedRange[], text: string): readonly string[] =>
    chosen.length === 0 ? [] : [`${text} (${where(chosen)})`];
  return [
    ...note(
      ranges.filter(({ from }) => from.moved === 'expired'),
      'what was asked for first is gone from the log: it begins at the oldest record that is left',
    ),
    ...note(
      ranges.filter(({ from }) => from.moved === 'past the end'),
      'there is no record there yet: it begins at the end',
    ),
    ...note(
      ranges.filter(({ to }) => to?.moved === 'past the end'),
      'the range ends behind the last record: it ends there',
    ),
  ];
}

class Tail {
  readonly #request: TailRequest;
  readonly #options: TailOptions;
  readonly #full = new AbortController();
  readonly #startedAt = performance.now();
  readonly #positions: Map<number, { readonly from: bigint; position: bigint; lost: number }>;
  /** Ends with the caller's, or when enough has matched. */
  readonly signal: AbortSignal;
  #read = 0;
  #matched = 0;

  constructor(request: TailRequest, options: TailOptions, ranges: readonly PartitionRange[]) {
    this.#request = request;
    this.#options = options;
    this.signal = AbortSignal.any([options.signal, this.#full.signal]);
    this.#positions = new Map(ranges.map(({ partition, from }) => [partition, { from, position: from, lost: 0 }]));
  }

  async take(batches: AsyncIterable<RangeBatch>): Promise<void> {
    for await (const batch of batches) {
      await this.#takeBatch(batch);
      if (this.signal.aborted) {
        return;
      }
    }
  }

  async #takeBatch(batch: RangeBatch): Promise<void> {
    const { topic, partition, records, nextPosition, lost, unreadable } = batch;
    const reading = this.#positions.get(partition);
    if (lost !== undefined && reading !== undefined) {
      reading.lost += Number(lost.to - lost.from + 1n);
      this.#options.onNote(`${topic}/${partition}: offsets ${lost.from} to ${lost.to} are gone from the log`);
    }
    if (unreadable !== undefined) {
      const { firstOffset, lastOffset, message } = unreadable;
      this.#options.onNote(`${topic}/${partition}: offsets ${firstOffset} to ${lastOffset} cannot be read: ${message}`);
    }
    for (const record of records) {
      await this.#takeRecord(batch, record);
      if (reading !== undefined) {
        reading.position = record.offset + 1n;
      }
      if (this.signal.aborted) {
        return;
      }
    }
    if (reading !== undefined) {
      reading.position = nextPosition;
    }
  }

  async #takeRecord(at: TopicPartition, record: SourceRecord): Promise<void> {
    const { where, max } = this.#request;
    this.#read += 1;
    if (where === undefined || where(whereRecord(at, record))) {
      this.#matched += 1;
      await this.#options.onRecord(at, record);
      if (this.#matched === max) {
        this.#full.abort();
      }
    }
  }

  counts(): TailCounts {
    return {
      topic: this.#request.topic,
      read: this.#read,
      matched: this.#matched,
      partitions: [...this.#positions].map(([partition, reading]) => ({ partition, ...reading })),
      seconds: (performance.now() - this.#startedAt) / 1000,
    };
  }
}

/** A fetched record is not a plain object: its offset and headers are read when they are asked for. */
function whereRecord({ topic, partition }: TopicPartition, record: SourceRecord): WhereRecord {
  const { offset, timestampMs, key, value } = record;
  return {
    topic,
    partition,
    offset,
    timestampMs,
    key,
    value,
    get headers() {
      return record.headers;
    },
  };
}
