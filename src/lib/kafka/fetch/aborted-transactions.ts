/** As a broker lists them beside fetched batches. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

interface BatchOfTransaction {
  readonly lastOffset: bigint;
  readonly transactional: boolean;
  readonly control: boolean;
  readonly producerId: bigint;
}

/**
 * Tells which batches of one fetch a read-committed consumer gets. The broker lists the aborted transactions that the
 * fetched range touches, also those that began before it. From its first offset on, a transactional batch of that producer
 * is aborted, until the control batch that ends the transaction. Transactions of several producers interleave; one
 * producer's follow each other.
 */
export class AbortedTransactions {
  readonly #waiting: readonly AbortedTransaction[];
  #begun = 0;
  readonly #producers = new Set<bigint>();

  constructor(listed: readonly AbortedTransaction[]) {
    this.#waiting =
      listed.length < 2 ? listed : listed.toSorted((left, right) => (left.firstOffset < right.firstOffset ? -1 : 1));
  }

  /** Ask for each batch, once and in their order. */
  isVisible(batch: BatchOfTransaction): boolean {
    for (
      let next = this.#waiting[this.#begun];
      next !== undefined && next.firstOffset <= batch.lastOffset;
      next = this.#waiting[this.#begun]
    ) {
      this.#producers.add(next.producerId);
      this.#begun += 1;
    }
    if (batch.control) {
      this.#producers.delete(batch.producerId);
      return false;
    }
    return !batch.transactional || !this.#producers.has(batch.producerId);
  }
}
