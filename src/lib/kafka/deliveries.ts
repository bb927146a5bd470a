import { KpipeError } from '../errors.ts';
import type { FetchedBatch } from '../ports.ts';

export interface DeliveryOptions {
  readonly topic: string;
  /** Fails when nothing has come for so long, though more was waited for. Default: it waits on. */
  readonly silenceMs?: number;
}

function silent(topic: string, silenceMs: number): KpipeError {
  return new KpipeError('KPIPE_KAFKA_UNREACHABLE', `nothing of ${topic} came for ${silenceMs / 1000} s`, {
    where: { topic },
    next: '`kpipe doctor` and `kpipe brokers` show what is wrong with the cluster',
  });
}

/** What the fetcher pushes, to be pulled. A push resolves when what it brought has been taken. */
export class Deliveries {
  readonly #signal: AbortSignal;
  readonly #options: DeliveryOptions;
  #queue: { readonly batch: FetchedBatch; readonly taken: () => void }[] = [];
  readonly #untaken = new Set<() => void>();
  #failure: { readonly error: unknown } | null = null;
  #hasEnded = false;
  #wake: (() => void) | null = null;

  constructor(signal: AbortSignal, options: DeliveryOptions) {
    this.#signal = signal;
    this.#options = options;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  push(batch: FetchedBatch): Promise<void> {
    return new Promise((resolve) => {
      if (this.#hasEnded) {
        resolve();
        return;
      }
      const taken = (): void => {
        this.#untaken.delete(taken);
        resolve();
      };
      this.#untaken.add(taken);
      this.#queue.push({ batch, taken });
      this.#wake?.();
    });
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** Nothing more is given out, and nobody waits any longer. */
  end(): void {
    this.#hasEnded = true;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#queue = [];
    for (const taken of this.#untaken) {
      taken();
    }
    this.#wake?.();
  }

  async *items(): AsyncGenerator<{ readonly batch: FetchedBatch; readonly taken: () => void }, void> {
    while (!this.#hasEnded && !this.#signal.aborted) {
      const item = this.#queue.shift();
      if (item !== undefined) {
        yield item;
      } else if (this.#failure !== null) {
        throw this.#failure.error;
      } else {
        await this.#woken();
      }
    }
  }

  async #woken(): Promise<void> {
    const { topic, silenceMs } = this.#options;
    const timer =
      silenceMs === undefined ? undefined : setTimeout(() => this.fail(silent(topic, silenceMs)), silenceMs);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
    clearTimeout(timer);
  }

  readonly #onAbort = (): void => this.#wake?.();
}
