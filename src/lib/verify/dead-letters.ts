import { readDeadLetter } from '../dlq/dead-letter.ts';
import type { SourceRecord, TopicPartition } from '../ports.ts';
import { mergedRanges, type OffsetRange } from './offset-ranges.ts';

/** Which records of a role are in its dead letter topic: the origins, and what is there twice counts once. */
export class BuriedRecords {
  readonly #role: string;
  readonly #topic: string;
  /** By partition: where a letter begins, and up to where it stands for records. */
  readonly #byPartition = new Map<number, Map<bigint, bigint>>();

  constructor(role: string, topic: string) {
    this.#role = role;
    this.#topic = topic;
  }

  take(at: TopicPartition, record: SourceRecord): void {
    const read = readDeadLetter(at, record);
    if (read.kind !== 'letter' || read.letter.source.topic !== this.#topic || read.letter.role !== this.#role) {
      return;
    }
    const { source, undecodableUpTo } = read.letter;
    const known = this.#byPartition.get(source.partition) ?? new Map<bigint, bigint>();
    known.set(source.offset, (undecodableUpTo ?? source.offset) + 1n);
    this.#byPartition.set(source.partition, known);
  }

  /** The offsets that letters stand for, ascending. */
  rangesOf(partition: number): readonly OffsetRange[] {
    return mergedRanges(Array.from(this.#byPartition.get(partition) ?? [], ([from, to]) => ({ from, to })));
  }

  /** Letters whose record lies there. */
  countIn(partition: number, { from, to }: OffsetRange): number {
    let count = 0;
    for (const offset of this.#byPartition.get(partition)?.keys() ?? []) {
      count += offset >= from && offset < to ? 1 : 0;
    }
    return count;
  }
}
