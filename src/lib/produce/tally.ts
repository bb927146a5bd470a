import type { KpipeError } from '../errors.ts';
import type { Delivery } from '../kafka/publisher.ts';
import type { Outgoing, Unsendable } from './outgoing.ts';

export interface ProducedTopic {
  readonly topic: string;
  readonly acked: number;
  readonly failed: number;
}

export interface ProduceFailure {
  readonly topic: string;
  /** The line, or the number in the generator's sequence; from 1. */
  readonly position: number;
  readonly code: string;
  readonly message: string;
}

export interface ProduceSummary {
  readonly topics: readonly ProducedTopic[];
  readonly acked: number;
  readonly failed: number;
  /** Keys and values of what was acked. */
  readonly bytes: number;
  readonly seconds: number;
  readonly recordsPerSec: number;
  readonly interrupted: boolean;
  /** Why it stopped before the end, where a topic could not be written any more. */
  readonly blockedBy: { readonly code: string; readonly message: string; readonly next: string | null } | null;
  /** The first 20. */
  readonly failures: readonly ProduceFailure[];
}

const failuresKept = 20;

/** What was acked and what was not, topic by topic. */
export class Tally {
  readonly #startedAtMs: number;
  readonly #topics = new Map<string, { acked: number; failed: number }>();
  readonly #failures: ProduceFailure[] = [];
  #bytes = 0;

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  settled(topic: string, records: readonly Outgoing[], deliveries: readonly Delivery[]): void {
    const counts = this.#countsOf(topic);
    for (const [index, { record, position }] of records.entries()) {
      const delivery = deliveries[index];
      if (delivery?.kind === 'acked') {
        counts.acked += 1;
        this.#bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0);
      } else if (delivery?.kind === 'failed') {
        counts.failed += 1;
        this.#keep({ topic, position, code: delivery.error.code, message: delivery.error.message });
      }
    }
  }

  unsendable({ topic, position, problem }: Unsendable): void {
    this.#countsOf(topic).failed += 1;
    this.#keep({ topic, position, code: 'KPIPE_INPUT_INVALID', message: problem });
  }

  get ackedCount(): number {
    return sum(this.#topics, ({ acked }) => acked);
  }

  get settledCount(): number {
    return sum(this.#topics, ({ acked, failed }) => acked + failed);
  }

  summary(
    nowMs: number,
    end: { readonly interrupted: boolean; readonly blockedBy: KpipeError | null },
  ): ProduceSummary {
    const seconds = Math.max(0.001, (nowMs - this.#startedAtMs) / 1000);
    const acked = this.ackedCount;
    const { blockedBy } = end;
    return {
      topics: Array.from(this.#topics, ([topic, counts]) => ({ topic, ...counts })),
      acked,
      failed: this.settledCount - acked,
      bytes: this.#bytes,
      seconds,
      recordsPerSec: Math.round(acked / seconds),
      interrupted: end.interrupted,
      blockedBy:
        blockedBy === null ? null : { code: blockedBy.code, message: blockedBy.message, next: blockedBy.next ?? null },
      failures: this.#failures,
    };
  }

  #countsOf(topic: string): { acked: number; failed: number } {
    const counts = this.#topics.get(topic) ?? { acked: 0, failed: 0 };
    this.#topics.set(topic, counts);
    return counts;
  }

  #keep(failure: ProduceFailure): void {
    if (this.#failures.length < failuresKept) {
      this.#failures.push(failure);
    }
  }
}

function sum<Value>(values: ReadonlyMap<string, Value>, of: (value: Value) => number): number {
  return Array.from(values.values()).reduce((total, value) => total + of(value), 0);
}
