import { Semaphore } from '../../runtime/semaphore.ts';
import { AnswerReader } from './answer-reader.ts';
import type { FetchPartition } from './fetch-partition.ts';

/** Of a batch's bytes (Castagnoli); what @node-rs/crc32 gives. */
export type Checksum = (bytes: Buffer) => number;

export interface DeliveryOwner {
  /** False: nothing is delivered any more. */
  isReading(): boolean;
  /** A partition has taken what waited: it may be asked again. */
  gotRoom(): void;
  failed(error: unknown): void;
}

/** Reads the answers that wait and delivers them, of each partition one after the other. */
export class Deliveries {
  readonly #checksum: Checksum;
  readonly #owner: DeliveryOwner;
  readonly #large = new Semaphore(1);

  constructor(checksum: Checksum, owner: DeliveryOwner) {
    this.#checksum = checksum;
    this.#owner = owner;
  }

  /** Call when an answer has come to wait. */
  start(partition: FetchPartition): void {
    if (!partition.delivering) {
      partition.delivering = true;
      void this.#deliver(partition);
    }
  }

  async #deliver(partition: FetchPartition): Promise<void> {
    try {
      for (let answer = partition.waiting; answer !== null; answer = partition.waiting) {
        partition.waiting = null;
        const { reading, topic, partition: number, deliver } = partition;
        const isCurrent = (): boolean => this.#owner.isReading() && partition.reading === reading;
        const crc32c = this.#checksum;
        // The broker is asked for more before this is read.
        await new Promise((resolve) => setImmediate(resolve));
        const options = { topic, partition: number, deliver, isCurrent, crc32c, large: this.#large };
        await new AnswerReader(options, answer).read();
        this.#owner.gotRoom();
      }
    } catch (error) {
      // Whoever gave the partition back may have ended what it was delivered to.
      if (!partition.removed) {
        this.#owner.failed(error);
      }
    } finally {
      partition.delivering = false;
      this.#owner.gotRoom();
    }
  }
}
