import type { FetchedBatch, SourceRecord, TopicPartition, UnreadableRange } from '../ports.ts';
import type { Decoded } from '../records/decoded.ts';
import { deadRecordBytes, objectRowBytes, weightOf } from './memory-budget.ts';
import type { OffsetRow, Rejection, SinkBatch } from './sink.ts';

/** Batches close at whichever comes first. */
export interface BatchLimits {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
}

/** A record that cannot be stored, and why. */
export interface DeadRecord {
  readonly record: SourceRecord;
  readonly reason: string;
  readonly message: string;
  readonly sqlstate?: string;
  readonly stage: 'decode' | 'sink';
  readonly attempts: number;
}

/** A closed batch: what goes to the sink, and what goes to the dead letters before. */
export interface ClosedBatch<Row extends OffsetRow> {
  readonly sink: SinkBatch<Row>;
  /** What the rows were decoded from; a fetch may reach beyond the batch. Iterated again only where a row is refused. */
  readonly fetches: readonly FetchedBatch[];
  readonly dead: readonly DeadRecord[];
  /** What the batch takes of the memory budget. */
  readonly weight: number;
  /** How many records the range held. */
  readonly recordCount: number;
  /** Of the first of them; null when there is none. */
  readonly firstTimestampMs: number | null;
}

/** What a row keeps of its record it copies: a record's bytes are not held for it. */
export type Decode<Row> = (record: SourceRecord, partition: TopicPartition) => Decoded<Row>;

/** What a row takes in memory beside its record's bytes. */
export type RowBytes<Row> = (row: Row) => number;

/** Collects one partition's records, in order, into batches. Pure: the clock is an argument. */
export class BatchBuilder<Row extends OffsetRow> {
  readonly #decode: Decode<Row>;
  readonly #limits: BatchLimits;
  readonly #rowBytes: RowBytes<Row>;
  #open: OpenBatch<Row> | null = null;
  #takenWeight = 0;

  constructor(decode: Decode<Row>, limits: BatchLimits, rowBytes: RowBytes<Row> = () => objectRowBytes) {
    this.#decode = decode;
    this.#limits = limits;
    this.#rowBytes = rowBytes;
  }

  get isEmpty(): boolean {
    return this.#open === null;
  }

  /** When the open batch must close by time; null when nothing is open. */
  get closesAtMs(): number | null {
    return this.#open === null ? null : this.#open.openedAtMs + this.#limits.maxWaitMs;
  }

  /** What everything that was ever added takes of the memory budget. */
  get takenWeight(): number {
    return this.#takenWeight;
  }

  /**
   * Takes a fetch, without the records below `from`; answers the batches that this filled. Each begins where the one
   * before ended.
   */
  add(fetched: FetchedBatch, nowMs: number, from = fetched.position): readonly ClosedBatch<Row>[] {
    const closed: ClosedBatch<Row>[] = [];
    let open = this.#open ?? openAt<Row>(fetched, from, nowMs);
    open.fetches.push(fetched);
    const closeBefore = (position: bigint): void => {
      closed.push(closeAt(open, position));
      open = openAt(fetched, position, nowMs);
      open.fetches.push(fetched);
    };
    const beginsBefore = fetched.position < from;
    for (const record of fetched.records) {
      if (beginsBefore && record.offset < from) {
        continue;
      }
      const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0);
      if (open.records > 0 && open.bytes + bytes > this.#limits.maxBytes) {
        closeBefore(record.offset);
      }
      this.#takenWeight += this.#take(open, record, this.#decode(record, fetched), bytes);
      if (open.records >= this.#limits.maxRows) {
        closeBefore(record.offset + 1n);
      }
    }
    if (fetched.unreadable !== undefined) {
      const { pointer, decoded } = unreadableRecord(fetched.unreadable, from);
      this.#takenWeight += this.#take(open, pointer, decoded, 0);
    }
    // The fetch may reach beyond its last record: control records, compaction.
    open.nextPosition = fetched.nextPosition;
    this.#open = open.nextPosition === open.position ? null : open;
    return closed;
  }

  /** Answers what the record weighs. */
  #take(open: OpenBatch<Row>, record: SourceRecord, decoded: Decoded<Row>, bytes: number): number {
    // After decoding, which may have read headers that nobody had looked at before.
    const weight = weightOf(record) + (decoded.kind === 'row' ? this.#rowBytes(decoded.row) : deadRecordBytes);
    open.records += 1;
    open.firstTimestampMs ??= record.timestampMs;
    open.bytes += bytes;
    open.weight += weight;
    if (decoded.kind === 'row') {
      open.rows.push(decoded.row);
    } else {
      open.dead.push({ record, reason: decoded.reason, message: decoded.message, stage: 'decode', attempts: 1 });
    }
    return weight;
  }

  /** Closes what is open, whatever its size. */
  close(): ClosedBatch<Row> | null {
    const open = this.#open;
    this.#open = null;
    return open === null ? null : closeAt(open, open.nextPosition);
  }
}

interface OpenBatch<Row extends OffsetRow> {
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
  readonly openedAtMs: number;
  nextPosition: bigint;
  readonly rows: Row[];
  readonly fetches: FetchedBatch[];
  readonly dead: DeadRecord[];
  records: number;
  firstTimestampMs: number | null;
  bytes: number;
  weight: number;
}

function openAt<Row extends OffsetRow>(fetched: FetchedBatch, position: bigint, nowMs: number): OpenBatch<Row> {
  const { topic, partition } = fetched;
  return {
    topic,
    partition,
    position,
    openedAtMs: nowMs,
    nextPosition: position,
    rows: [],
    fetches: [],
    dead: [],
    records: 0,
    firstTimestampMs: null,
    bytes: 0,
    weight: 0,
  };
}

/** One dead letter stands for the range, at its first offset; the bytes stay where they are. */
function unreadableRecord(
  range: UnreadableRange,
  from: bigint,
): { readonly pointer: SourceRecord; readonly decoded: Decoded<never> } {
  const { firstOffset, lastOffset, timestampMs, reason, message } = range;
  const headers = [['kpipe.last-offset', Buffer.from(lastOffset.toString())]] as const;
  const offset = firstOffset < from ? from : firstOffset;
  return {
    pointer: { offset, timestampMs, key: null, value: null, headers },
    decoded: { kind: 'dead', reason, message },
  };
}

function closeAt<Row extends OffsetRow>(open: OpenBatch<Row>, nextPosition: bigint): ClosedBatch<Row> {
  const { topic, partition, position } = open;
  return {
    sink: {
      topic,
      partition,
      position,
      nextPosition,
      rows: open.rows,
      deadLetters: open.dead.length,
      skipped: 0,
      gaps: Number(nextPosition - position) - open.records,
    },
    fetches: open.fetches,
    dead: open.dead,
    weight: open.weight,
    recordCount: open.records,
    firstTimestampMs: open.firstTimestampMs,
  };
}

/** The batch without the rows that the sink refused, which join its dead records. */
export function withoutRejected<Row extends OffsetRow>(
  batch: ClosedBatch<Row>,
  rejections: readonly Rejection[],
  attempts: number,
): ClosedBatch<Row> {
  const byOffset = new Map(rejections.map((rejection) => [rejection.offset, rejection]));
  const isRefused = ({ offset }: OffsetRow): boolean => byOffset.has(offset);
  const refused = recordsOf(batch, new Set(batch.sink.rows.filter(isRefused).map(({ offset }) => offset)));
  const joining = refused.map((record): DeadRecord => {
    const { reason = 'sink_rejected', message = '', sqlstate } = byOffset.get(record.offset) ?? {};
    return { record, reason, message, stage: 'sink', attempts, ...(sqlstate === undefined ? {} : { sqlstate }) };
  });
  const dead = [...batch.dead, ...joining];
  const rows = batch.sink.rows.filter((row) => !isRefused(row));
  return { ...batch, dead, sink: { ...batch.sink, rows, deadLetters: dead.length } };
}

/** The records of a batch at these offsets: decoded from their fetches once more. */
function recordsOf<Row extends OffsetRow>(
  batch: ClosedBatch<Row>,
  offsets: ReadonlySet<bigint>,
): readonly SourceRecord[] {
  const found: SourceRecord[] = [];
  for (const { records } of batch.fetches) {
    for (const record of records) {
      if (offsets.has(record.offset)) {
        found.push(record);
      }
    }
  }
  return found;
}
