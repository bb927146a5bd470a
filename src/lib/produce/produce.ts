import { KpipeError } from '../errors.ts';
import type { Delivery, KafkaPublisher } from '../kafka/publisher.ts';
import { wait } from '../runtime/backoff.ts';
import type { Journal } from './journal.ts';
import type { Outgoing, OutgoingBatch } from './outgoing.ts';
import { Tally, type ProduceSummary } from './tally.ts';

export interface ProduceRequest {
  readonly publisher: Pick<KafkaPublisher, 'deliver'>;
  readonly batches: AsyncIterable<OutgoingBatch> | Iterable<OutgoingBatch>;
  readonly ratePerSec?: number;
  /** Stops after so many records were sent or could not be. Default: at the end of the input. */
  readonly count?: number;
  /** Aborts: nothing more is sent; what is in flight is waited for. */
  readonly signal: AbortSignal;
  readonly journal?: Journal;
  readonly onProgress?: (settled: number) => void;
  readonly onAcked?: (records: readonly Outgoing[], deliveries: readonly Delivery[]) => void;
}

/** What is read and not yet acked never holds more than this, whatever the input. */
const maxInFlightBytes = 24_000_000;
const maxInFlightRecords = 20_000;
const maxChunk = 500;
/** With a rate, what is due is sent this often: smooth, and without a timer a record. */
const tickMs = 20;

/**
 * Sends everything that the batches bring, in their order, at most `ratePerSec`, and says what was acked and what was
 * not. It stops at the end of the input, at `count`, at the signal, or when a topic cannot be written any more; a record
 * that the broker refuses is counted and does not stop it.
 * @throws KpipeError KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE: before anything was acked
 */
export async function produceRecords(request: ProduceRequest): Promise<ProduceSummary> {
  const tally = new Tally(Date.now());
  const window = new InFlight();
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  const pace = new Pace(request.ratePerSec, Date.now());
  let left = request.count ?? Number.POSITIVE_INFINITY;
  for await (const batch of interruptible(request.batches, signal)) {
    // Bad lines of the batch count as records, so that `count` means lines read.
    for (const unsendable of batch.unsendable.slice(0, left)) {
      tally.unsendable(unsendable);
      left -= 1;
    }
    for (let start = 0; start < batch.records.length && left > 0 && !signal.aborted;) {
      const chunk = batch.records.slice(start, start + Math.min(left, pace.chunk));
      start += chunk.length;
      left -= chunk.length;
      await pace.due(chunk.length, signal);
      await window.room(chunk);
      if (!signal.aborted) {
        window.add(chunk, send(chunk, request, tally, stop));
      }
    }
    if (left <= 0 || signal.aborted) {
      break;
    }
  }
  await window.idle();
  return outcome(tally, request.signal.aborted, stop.signal.reason);
}

/** Sends a chunk and books what became of it. Never rejects. */
async function send(
  chunk: readonly Outgoing[],
  request: ProduceRequest,
  tally: Tally,
  stop: AbortController,
): Promise<void> {
  request.journal?.sent(chunk, Date.now());
  const byTopic = Map.groupBy(chunk, ({ topic }) => topic);
  await Promise.all(
    Array.from(byTopic, async ([topic, records]) => {
      const deliveries = await deliver(request.publisher, topic, records);
      request.journal?.settled(records, deliveries, Date.now());
      tally.settled(topic, records, deliveries);
      request.onAcked?.(records, deliveries);
      const blocked = deliveries.find((delivery) => delivery.kind === 'failed' && delivery.scope === 'topic');
      if (blocked?.kind === 'failed') {
        stop.abort(blocked.error);
      }
    }),
  );
  request.onProgress?.(tally.settledCount);
}

async function deliver(
  publisher: ProduceRequest['publisher'],
  topic: string,
  records: readonly Outgoing[],
): Promise<readonly Delivery[]> {
  try {
    return await publisher.deliver(
      topic,
      records.map(({ record }) => record),
    );
  } catch (thrown) {
    const error =
      thrown instanceof KpipeError ? thrown : new KpipeError('KPIPE_PRODUCE_FAILED', String(thrown), { cause: thrown });
    return records.map(() => ({ kind: 'failed', scope: 'topic', error }));
  }
}

function outcome(tally: Tally, interrupted: boolean, blockedBy: unknown): ProduceSummary {
  if (blockedBy instanceof KpipeError && tally.ackedCount === 0) {
    throw blockedBy;
  }
  return tally.summary(Date.now(), { interrupted, blockedBy: blockedBy instanceof KpipeError ? blockedBy : null });
}

/** Ends at the abort, also while the input says nothing: a quiet pipe must not hold up Ctrl-C. */
async function* interruptible<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  // One listener and a promise a step, not a race with a promise that lives on: that would remember every step.
  let stop: (() => void) | undefined;
  const onAbort = (): void => stop?.();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      const step = await new Promise<IteratorResult<Item, unknown>>((resolve, reject) => {
        stop = () => resolve({ done: true, value: undefined });
        Promise.resolve(iterator.next()).then(resolve, reject);
      });
      if (step.done === true) {
        return;
      }
      yield step.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a read that never answers would never let it return.
    void iterator.return?.();
  }
}

/** The chunks under way. */
class InFlight {
  #records = 0;
  #bytes = 0;
  readonly #sends = new Set<Promise<void>>();

  async room(chunk: readonly Outgoing[]): Promise<void> {
    while (
      this.#sends.size > 0 &&
      (this.#records + chunk.length > maxInFlightRecords || this.#bytes + bytesOf(chunk) > maxInFlightBytes)
    ) {
      await Promise.race(this.#sends);
    }
  }

  add(chunk: readonly Outgoing[], sending: Promise<void>): void {
    const bytes = bytesOf(chunk);
    this.#records += chunk.length;
    this.#bytes += bytes;
    const done = sending.finally(() => {
      this.#records -= chunk.length;
      this.#bytes -= bytes;
      this.#sends.delete(done);
    });
    this.#sends.add(done);
  }

  async idle(): Promise<void> {
    await Promise.all(this.#sends);
  }
}

function bytesOf(chunk: readonly Outgoing[]): number {
  return chunk.reduce((sum, { record }) => sum + (record.value?.length ?? 0) + (record.key?.length ?? 0), 0);
}

/** Spreads sends evenly over time. A stall is not made up for by a burst of more than a second's records. */
class Pace {
  readonly #ratePerSec: number | undefined;
  #nextMs: number;

  constructor(ratePerSec: number | undefined, nowMs: number) {
    this.#ratePerSec = ratePerSec;
    this.#nextMs = nowMs;
  }

  /** How many records go at once. */
  get chunk(): number {
    const perTick = this.#ratePerSec === undefined ? maxChunk : Math.ceil((this.#ratePerSec * tickMs) / 1000);
    return Math.max(1, Math.min(maxChunk, perTick));
  }

  async due(records: number, signal: AbortSignal): Promise<void> {
    if (this.#ratePerSec !== undefined) {
      const delayMs = this.#nextMs - Date.now();
      this.#nextMs = Math.max(this.#nextMs, Date.now() - 1000) + (records * 1000) / this.#ratePerSec;
      if (delayMs > 0) {
        await wait(delayMs, signal);
      }
    }
  }
}
