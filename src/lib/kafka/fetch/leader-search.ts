import { KpipeError, messageOf } from '../../errors.ts';
import { AccessGrace, isAccessFailure } from '../access-failures.ts';
import type { FetchPartition } from './fetch-partition.ts';
import type { Leaders } from './leaders.ts';

export interface SearchOwner {
  /** The partitions that have no leader. */
  lost(): readonly FetchPartition[];
  found(partition: FetchPartition): void;
  /** The search goes on; this is what stands in its way. */
  hindered(partition: FetchPartition, reason: unknown): void;
  /** Nothing that waiting could cure. */
  failed(error: KpipeError): void;
}

/**
 * Finds leaders for partitions that have none, each when its pause is over: one question to the cluster for all that are
 * due, and one at a time.
 */
export class LeaderSearch {
  readonly #leaders: Leaders;
  readonly #owner: SearchOwner;
  readonly #closed: AbortSignal;
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;
  readonly #grace = new AccessGrace({ wereGood: false });

  constructor(leaders: Leaders, owner: SearchOwner, closed: AbortSignal) {
    this.#leaders = leaders;
    this.#owner = owner;
    this.#closed = closed;
    closed.addEventListener('abort', () => this.#clear(), { once: true });
  }

  /** Call when a partition has lost its leader, or has come. */
  schedule(): void {
    this.#clear();
    const lost = this.#owner.lost();
    if (this.#isAsking || this.#closed.aborted || lost.length === 0) {
      return;
    }
    const dueMs = Math.min(...lost.map(({ retryAtMs }) => retryAtMs));
    if (Number.isFinite(dueMs)) {
      this.#timer = setTimeout(() => void this.#search(), Math.max(0, dueMs - Date.now()));
    }
  }

  #clear(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  async #search(): Promise<void> {
    this.#isAsking = true;
    const due = this.#owner.lost().filter(({ retryAtMs }) => retryAtMs <= Date.now());
    try {
      const leaders = await this.#leaders.find();
      this.#grace.accepted();
      for (const partition of due) {
        const leader = leaders.get(partition.partition);
        if (leader !== undefined && partition.lead(leader)) {
          this.#owner.found(partition);
        } else {
          this.#owner.hindered(partition, new Error(`partition ${partition.partition} has no leader`));
        }
      }
    } catch (error) {
      if (this.#isFinal(error)) {
        this.#owner.failed(error);
        return;
      }
      due.forEach((partition) => this.#owner.hindered(partition, error));
    } finally {
      this.#isAsking = false;
    }
    this.schedule();
  }

  #isFinal(error: unknown): error is KpipeError {
    if (this.#closed.aborted || !(error instanceof KpipeError)) {
      return false;
    }
    if (error.code === 'KPIPE_TOPIC_RECREATED' || error.code === 'KPIPE_TOPIC_MISSING') {
      return true;
    }
    if (error.code !== 'KPIPE_KAFKA_FAILED' && !isAccessFailure(error)) {
      return false;
    }
    return this.#grace.isOver(Date.now());
  }
}

/** What stands in the way, for the operator. */
export function hindrance(topic: string, reason: unknown): KpipeError {
  return reason instanceof KpipeError
    ? reason
    : new KpipeError('KPIPE_KAFKA_UNREACHABLE', `reading ${topic} waits: ${messageOf(reason)}`, {
        where: { topic },
        next: '`kpipe doctor` and `kpipe brokers` show what is wrong with the cluster',
        cause: reason,
      });
}
