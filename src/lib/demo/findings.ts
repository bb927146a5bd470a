import type { Expectation } from '../shop/types.ts';

/** A record that Kafka has acked, and what must become of it. */
export interface AckedRecord {
  readonly partition: number;
  readonly offset: bigint;
  readonly expect: Expectation;
  readonly id: string | null;
}

/** A row as its store has it. `latencyMs` is null where the store does not know it. */
export interface FoundRow {
  readonly partition: number;
  readonly offset: bigint;
  readonly id: string | null;
  readonly rows: number;
  readonly latencyMs: number | null;
}

/** A dead letter, by the record that it stands for. */
export interface FoundDeadLetter {
  readonly partition: number;
  readonly offset: bigint;
  readonly reason: string;
}

export interface TopicFindings {
  /** Records that have their row. */
  readonly stored: number;
  /** Rows and dead letters beyond one a record. */
  readonly duplicates: number;
  readonly deadLetters: number;
  readonly deadLettersByReason: Readonly<Record<string, number>>;
  readonly latencyP50Ms: number | null;
  readonly latencyP99Ms: number | null;
  /** In plain words; empty: every record has exactly the one effect that it must have. */
  readonly problems: readonly string[];
}

/** Holds what was acked against what is in the stores: every record must have exactly one effect, and the right one. */
export function compareTopic(
  topic: string,
  acked: readonly AckedRecord[],
  rows: readonly FoundRow[],
  deadLetters: readonly FoundDeadLetter[],
): TopicFindings {
  const rowOf = Map.groupBy(rows, recordKey);
  const deadOf = Map.groupBy(deadLetters, recordKey);
  const problems = new Problems(topic);
  const latencies: number[] = [];
  const reasons: Record<string, number> = {};
  let stored = 0;
  let duplicates = 0;
  for (const record of acked) {
    const found = rowOf.get(recordKey(record)) ?? [];
    const dead = deadOf.get(recordKey(record)) ?? [];
    const copies = found.reduce((sum, row) => sum + row.rows, 0);
    stored += copies > 0 ? 1 : 0;
    duplicates += Math.max(0, copies - 1) + Math.max(0, dead.length - 1);
    for (const { reason } of dead) {
      reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
    latencies.push(...found.flatMap(({ latencyMs }) => (latencyMs === null ? [] : [latencyMs])));
    judge(record, found, copies, dead, problems);
  }
  return {
    stored,
    duplicates,
    deadLetters: Object.values(reasons).reduce((sum, count) => sum + count, 0),
    deadLettersByReason: reasons,
    latencyP50Ms: percentile(latencies, 0.5),
    latencyP99Ms: percentile(latencies, 0.99),
    problems: problems.texts(),
  };
}

function judge(
  record: AckedRecord,
  found: readonly FoundRow[],
  copies: number,
  dead: readonly FoundDeadLetter[],
  problems: Problems,
): void {
  const { expect } = record;
  if (copies + dead.length === 0) {
    problems.add('neither stored nor a dead letter: lost', record);
  }
  if (copies > 1) {
    problems.add('stored more than once', record);
  }
  if (dead.length > 1) {
    problems.add('a dead letter more than once', record);
  }
  if (expect === 'stored' && dead.length > 0) {
    problems.add(`a dead letter (${dead[0]?.reason}) that should be stored`, record);
  }
  if (expect !== 'stored' && copies > 0) {
    problems.add(`stored, but should be a dead letter (${expect})`, record);
  }
  if (expect !== 'stored' && dead.some(({ reason }) => reason !== expect)) {
    problems.add(`a dead letter for ${dead[0]?.reason} that should be one for ${expect}`, record);
  }
  if (record.id !== null && found.some(({ id }) => id !== null && id !== record.id)) {
    problems.add('stored under another id', record);
  }
}

function recordKey({ partition, offset }: { readonly partition: number; readonly offset: bigint }): string {
  return `${partition}/${offset}`;
}

/** Each kind of problem once, with how many and the first one. */
class Problems {
  readonly #topic: string;
  readonly #kinds = new Map<string, { count: number; readonly first: AckedRecord }>();

  constructor(topic: string) {
    this.#topic = topic;
  }

  add(kind: string, record: AckedRecord): void {
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      this.#kinds.set(kind, { count: 1, first: record });
    } else {
      known.count += 1;
    }
  }

  texts(): readonly string[] {
    return Array.from(this.#kinds, ([kind, { count, first }]) => {
      const records = count === 1 ? '1 record is' : `${count} records are`;
      return `${this.#topic}: ${records} ${kind} (first: partition ${first.partition}, offset ${first.offset})`;
    });
  }
}

/** The smallest value that so large a share of the values does not pass; null of none. */
export function percentile(values: readonly number[], share: number): number | null {
  const sorted = Float64Array.from(values).toSorted();
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  return value === undefined ? null : Math.round(value);
}
