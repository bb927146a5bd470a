import type { OutgoingRecord } from '../ports.ts';
import { shopRecords } from '../shop/shop.ts';
import type { Expectation, OrderState, ProducerKind, ShopOptions, ShopTopic } from '../shop/types.ts';
import { keyFromField } from './key-field.ts';
import { readLines } from './lines.ts';

/** A record to send, and what is worth knowing about it. */
export interface Outgoing {
  readonly topic: string;
  readonly record: OutgoingRecord;
  /** The line it came from, or its number in the generator's sequence; from 1. */
  readonly position: number;
  readonly id: string | null;
  readonly expect: Expectation | null;
  readonly order: OrderState | null;
}

/** A record that cannot be made. */
export interface Unsendable {
  readonly topic: string;
  readonly position: number;
  readonly problem: string;
}

export interface OutgoingBatch {
  readonly records: readonly Outgoing[];
  readonly unsendable: readonly Unsendable[];
}

/**
 * One record a line, its bytes as they are; the key from a JSON field, or none.
 * @throws KPIPE_USAGE at once, before anything is read or connected: the field is no path
 */
export function recordsFromLines(
  stream: AsyncIterable<Buffer>,
  topic: string,
  keyField: string | undefined,
): AsyncGenerator<OutgoingBatch> {
  return keyedLines(stream, topic, keyField === undefined ? undefined : keyFromField(keyField));
}

async function* keyedLines(
  stream: AsyncIterable<Buffer>,
  topic: string,
  keyOf: ReturnType<typeof keyFromField> | undefined,
): AsyncGenerator<OutgoingBatch> {
  for await (const lines of readLines(stream)) {
    const records: Outgoing[] = [];
    const unsendable: Unsendable[] = [];
    for (const { number: position, bytes } of lines) {
      const outcome = keyOf?.(bytes);
      if (outcome?.kind === 'none') {
        unsendable.push({ topic, position, problem: outcome.problem });
      } else {
        records.push({
          topic,
          position,
          id: null,
          expect: null,
          order: null,
          record: { key: outcome?.key ?? null, value: bytes },
        });
      }
    }
    yield { records, unsendable };
  }
}

export interface GeneratedOptions extends ShopOptions {
  readonly kind: ProducerKind;
  /** What the shop's topics are called here; a topic without a name is left out. */
  readonly topics: Readonly<Partial<Record<ShopTopic, string | undefined>>>;
}

const generatedAtOnce = 500;

/**
 * The generator's records, without end. Kafka stamps them with the time at which they are sent; when they happened in
 * the shop is in the records.
 */
export function* generatedRecords(options: GeneratedOptions): Generator<OutgoingBatch, never> {
  let position = 0;
  const source = shopRecords(options.kind, options);
  for (;;) {
    const records: Outgoing[] = [];
    while (records.length < generatedAtOnce) {
      const { topic, key, value, headers, id, expect, order } = source.next().value;
      const name = options.topics[topic];
      if (name !== undefined) {
        position += 1;
        records.push({ topic: name, position, id, expect, order, record: { key, value, headers } });
      }
    }
    yield { records, unsendable: [] };
  }
}
