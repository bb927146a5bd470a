import type { ClusterAdmin } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';

interface Seen {
  readonly atMs: number;
  readonly offset: bigint;
}

const everyMs = 500;

/**
 * When a group's commits were seen to move. BigQuery does not tell when a row became visible; the role commits right after
 * that, so the first commit beyond a record bounds its latency from above, to half a second.
 */
export class CommitTrail {
  readonly #seen = new Map<number, Seen[]>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  constructor(admin: ClusterAdmin, group: string, topic: string) {
    this.#watching = this.#watch(admin, group, topic);
  }

  /** When the record was first seen to be behind the commit; null: never. */
  passedAt(partition: number, offset: bigint): number | null {
    const seen = this.#seen.get(partition) ?? [];
    let low = 0;
    let high = seen.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((seen[middle]?.offset ?? 0n) > offset) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return seen[low]?.atMs ?? null;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }

  async #watch(admin: ClusterAdmin, group: string, topic: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // A look that fails leaves a gap: the next one bounds what lies in it.
      const commits = await admin.committedOffsets(group).catch(() => []);
      const atMs = Date.now();
      for (const commit of commits.filter((each) => each.topic === topic)) {
        const seen = this.#seen.get(commit.partition) ?? [];
        if (commit.offset > (seen.at(-1)?.offset ?? -1n)) {
          seen.push({ atMs, offset: commit.offset });
        }
        this.#seen.set(commit.partition, seen);
      }
      await wait(everyMs, this.#stop.signal);
    }
  }
}
