import type { SourceRecord } from '../ports.ts';
import type { Decoded } from '../records/decoded.ts';
import type { ChangedRecord, Comparison, Stretch } from './account.ts';
import { rangeLookup, rangesOf, withoutRanges, type OffsetRange } from './offset-ranges.ts';

/** What a role's rows are asked. */
export interface RowQuestions<Row> {
  readonly decode: (record: SourceRecord) => Decoded<Row>;
  readonly offsetOf: (row: Row) => bigint;
  /** The offsets of the range that have no row. */
  readonly holes: (partition: number, range: OffsetRange) => Promise<readonly OffsetRange[]>;
  /** Of rows that are not there: the offsets of those that repeat another record. */
  readonly repeats: (rows: readonly Row[]) => Promise<ReadonlySet<bigint>>;
  /** The row would have been dropped with its day. */
  readonly isExpired: (row: Row) => boolean;
  /** Of rows that are there: what differs. */
  readonly changed: (partition: number, rows: readonly Row[]) => Promise<readonly ChangedRecord[]>;
}

export interface ComparisonEdges<Row> extends RowQuestions<Row> {
  /** Reads a range of the role's topic, from where the log begins at the earliest. */
  readonly read: (
    partition: number,
    range: OffsetRange,
    onRecords: (records: readonly SourceRecord[]) => Promise<void>,
  ) => Promise<void>;
}

const maxRows = 2000;
const maxBytes = 4_000_000;

/**
 * Holds a stretch, offset by offset, against the records that Kafka still has. Not deep: only the offsets that have
 * neither a row nor a dead letter are looked at, which are few but for repeats.
 */
export async function compareStretch<Row>(
  edges: ComparisonEdges<Row>,
  { partition, firstOffset, nextOffset }: Stretch,
  buried: readonly OffsetRange[],
  logStart: bigint,
  deep: boolean,
): Promise<Comparison> {
  const range = { from: firstOffset, to: nextOffset };
  const holes = withoutRanges(await edges.holes(partition, range), buried);
  const unread = holes.flatMap(({ from, to }) =>
    from < logStart ? [{ from, to: to < logStart ? to : logStart }] : [],
  );
  const work = new StretchComparison(edges, partition, {
    isHole: rangeLookup(holes),
    isBuried: rangeLookup(buried),
    deep,
  });
  const [firstHole, lastHole] = [holes[0], holes.at(-1)];
  const span = deep ? range : { from: firstHole?.from ?? nextOffset, to: lastHole?.to ?? nextOffset };
  const from = span.from < logStart ? logStart : span.from;
  if (from < span.to) {
    await edges.read(partition, { from, to: span.to }, (records) => work.take(records));
  }
  return { ...(await work.end()), unread };
}

interface Asked {
  readonly isHole: (offset: bigint) => boolean;
  readonly isBuried: (offset: bigint) => boolean;
  readonly deep: boolean;
}

class StretchComparison<Row> {
  readonly #edges: ComparisonEdges<Row>;
  readonly #partition: number;
  readonly #asked: Asked;
  readonly #missingRows: bigint[] = [];
  readonly #missingLetters: bigint[] = [];
  readonly #changed: ChangedRecord[] = [];
  #expired = 0;
  #compared = 0;
  #absent: Row[] = [];
  #present: Row[] = [];
  #bytes = 0;

  constructor(edges: ComparisonEdges<Row>, partition: number, asked: Asked) {
    this.#edges = edges;
    this.#partition = partition;
    this.#asked = asked;
  }

  async take(records: readonly SourceRecord[]): Promise<void> {
    const { isHole, isBuried, deep } = this.#asked;
    for (const record of records) {
      const hole = isHole(record.offset);
      if (hole || (deep && !isBuried(record.offset))) {
        this.#look(record, hole);
      }
      if (this.#absent.length + this.#present.length >= maxRows || this.#bytes >= maxBytes) {
        await this.#flush();
      }
    }
  }

  #look(record: SourceRecord, isHole: boolean): void {
    const decoded = this.#edges.decode(record);
    if (decoded.kind === 'dead') {
      // With a row it was valid when it was read: limits have changed since.
      if (isHole) {
        this.#missingLetters.push(record.offset);
      }
      return;
    }
    (isHole ? this.#absent : this.#present).push(decoded.row);
    this.#bytes += record.value?.length ?? 0;
  }

  async #flush(): Promise<void> {
    const [absent, present] = [this.#absent, this.#present];
    this.#absent = [];
    this.#present = [];
    this.#bytes = 0;
    const repeats = absent.length === 0 ? new Set<bigint>() : await this.#edges.repeats(absent);
    for (const row of absent) {
      const offset = this.#edges.offsetOf(row);
      if (this.#edges.isExpired(row)) {
        this.#expired += 1;
      } else if (!repeats.has(offset)) {
        this.#missingRows.push(offset);
      }
    }
    if (present.length > 0) {
      this.#changed.push(...(await this.#edges.changed(this.#partition, present)));
      this.#compared += present.length;
    }
  }

  async end(): Promise<Omit<Comparison, 'unread'>> {
    await this.#flush();
    return {
      missingRows: rangesOf(this.#missingRows),
      missingLetters: rangesOf(this.#missingLetters),
      changed: this.#changed,
      expired: this.#expired,
      compared: this.#compared,
    };
  }
}
