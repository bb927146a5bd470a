import type { IHeaders } from 'kafkajs';

import type { RecordHeader } from '../ports.ts';

/**
 * Record headers as kafkajs must be given them so that they reach the broker as they are. Kafka's headers are a list:
 * names repeat, in any order, and a value may be null. kafkajs takes an object of names instead, which regroups repeated
 * names, reorders names that look like integers, and throws on null.
 *
 * Its encoder (2.2.4, protocol/recordBatch/record/v0) reads that object with `Object.keys(headers)` and, for an array,
 * `headers[name].map(value => …)`. One name whose array answers `map` with the whole list is therefore encoded as just
 * that list. The integration tests read the headers back from a broker and hold this in place.
 */
export function wireHeaders(headers: readonly RecordHeader[]): IHeaders {
  return { list: new HeaderList(headers) };
}

interface WireHeader {
  readonly key: string;
  readonly value: Buffer | null;
}

class HeaderList extends Array<Buffer> {
  readonly #headers: readonly RecordHeader[];

  constructor(headers: readonly RecordHeader[]) {
    super();
    this.#headers = headers;
  }

  /** Called once an encoding, so that each retry gets fresh entries. */
  override map<Mapped>(): Mapped[] {
    const entries: readonly WireHeader[] = this.#headers.map(([key, value]) =>
      value === null ? new NullHeader(key) : { key, value },
    );
    return entries as readonly unknown[] as Mapped[];
  }
}

/**
 * The encoder asks for the value's length before it asks whether the value is null, and cannot take the length of null.
 * The first read answers no bytes, the later ones null.
 */
class NullHeader implements WireHeader {
  readonly key: string;
  #measured = false;

  constructor(key: string) {
    this.key = key;
  }

  get value(): Buffer | null {
    if (this.#measured) {
      return null;
    }
    this.#measured = true;
    return Buffer.alloc(0);
  }
}
