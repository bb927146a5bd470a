import { closeSync, openSync, writeSync } from 'node:fs';

import { KpipeError, messageOf } from '../errors.ts';
import type { Delivery } from '../kafka/publisher.ts';
import type { Outgoing } from './outgoing.ts';

/**
 * A file that says of each record when it was handed to Kafka and when it was acked: what a fault test holds the stores
 * against. One JSON object a line: `{"at","event":"send","position","topic","id","expect"}`, then
 * `{"at","event":"ack","position","topic","partition","offset"}` or `{"at","event":"fail","position","topic","code"}`.
 * A send is written before it is sent, so that the file holds whatever may have arrived, also after a kill.
 */
export class Journal {
  readonly #file: number;

  /** @throws KPIPE_INPUT_INVALID: the file cannot be written */
  constructor(path: string) {
    try {
      this.#file = openSync(path, 'a', 0o600);
    } catch (error) {
      throw new KpipeError('KPIPE_INPUT_INVALID', `the journal cannot be written: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  sent(records: readonly Outgoing[], atMs: number): void {
    const at = new Date(atMs).toISOString();
    this.#write(records.map(({ position, topic, id, expect }) => ({ at, event: 'send', position, topic, id, expect })));
  }

  settled(records: readonly Outgoing[], deliveries: readonly Delivery[], atMs: number): void {
    const at = new Date(atMs).toISOString();
    this.#write(
      records.map(({ position, topic }, index) => {
        const delivery = deliveries[index];
        return delivery?.kind === 'acked'
          ? {
              at,
              event: 'ack',
              position,
              topic,
              partition: delivery.partition,
              offset: delivery.offset?.toString() ?? null,
            }
          : { at, event: 'fail', position, topic, code: delivery?.error.code ?? 'KPIPE_PRODUCE_FAILED' };
      }),
    );
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(entries: readonly object[]): void {
    const bytes = Buffer.from(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    // Synchronous on purpose: what is written survives a kill of this process.
    for (let written = 0; written < bytes.length;) {
      written += writeSync(this.#file, bytes, written);
    }
  }
}
