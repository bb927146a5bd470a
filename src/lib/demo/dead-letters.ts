import type { Config } from '../config/load.ts';
import { openReadBack, type ReadBack } from '../kafka/read-back.ts';
import type { ClusterAdmin, PartitionPosition, SourceRecord } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';
import type { ShopTopic } from '../shop/types.ts';
import { endPositions } from './arrival.ts';
import type { FoundDeadLetter } from './findings.ts';

const readDeadlineMs = 30_000;

/** Reads the dead-letter topics along, from where they ended before the demo. */
export class DeadLetterCollector {
  readonly #admin: ClusterAdmin;
  readonly #topics: readonly string[];
  readonly #readBack: ReadBack;
  readonly #byOrigin: Map<string, FoundDeadLetter[]>;

  private constructor(
    admin: ClusterAdmin,
    topics: readonly string[],
    readBack: ReadBack,
    byOrigin: Map<string, FoundDeadLetter[]>,
  ) {
    this.#admin = admin;
    this.#topics = topics;
    this.#readBack = readBack;
    this.#byOrigin = byOrigin;
  }

  static async open(
    config: Config,
    admin: ClusterAdmin,
    roles: readonly ShopTopic[],
    run: string,
  ): Promise<DeadLetterCollector> {
    const topics = [...new Set(roles.flatMap((role) => config.roles[role]?.deadLetters ?? []))];
    const starts: PartitionPosition[] = [];
    for (const topic of topics) {
      starts.push(...(await endPositions(admin, topic)));
    }
    const byOrigin = new Map<string, FoundDeadLetter[]>();
    const readBack = await openReadBack(config.kafka, `kpipe-demo-${run}`, starts, (_partition, record) =>
      collect(record, byOrigin),
    );
    return new DeadLetterCollector(admin, topics, readBack, byOrigin);
  }

  /** Resolves when what is in the dead-letter topics now has been read. Answers false when that took too long. */
  async readToEnd(signal: AbortSignal): Promise<boolean> {
    const ends: PartitionPosition[] = [];
    for (const topic of this.#topics) {
      ends.push(...(await endPositions(this.#admin, topic)));
    }
    for (const deadline = Date.now() + readDeadlineMs; Date.now() < deadline; await wait(100, signal)) {
      signal.throwIfAborted();
      if (ends.every((end) => this.#readBack.position(end) >= end.position)) {
        return true;
      }
    }
    return false;
  }

  /** Those that stand for records of a topic. */
  of(topic: string): readonly FoundDeadLetter[] {
    return this.#byOrigin.get(topic) ?? [];
  }

  close(): Promise<void> {
    return this.#readBack.close();
  }
}

function collect({ headers }: SourceRecord, byOrigin: Map<string, FoundDeadLetter[]>): void {
  const text = (name: string): string => headers.find(([each]) => each === name)?.[1]?.toString() ?? '';
  const topic = text('__connect.errors.topic');
  const offset = text('__connect.errors.offset');
  const letter = {
    partition: Number(text('__connect.errors.partition')),
    offset: /^\d+$/.test(offset) ? BigInt(offset) : -1n,
    reason: text('kpipe.reason'),
  };
  const known = byOrigin.get(topic);
  if (known === undefined) {
    byOrigin.set(topic, [letter]);
  } else {
    known.push(letter);
  }
}
