import type { PostgresConfig } from '../config/load.ts';
import { formatDuration } from '../config/units.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { mayRead, type PrimarySight, type ReplicaSight, type Verdict } from '../replication/read-guard.ts';
import { wait } from '../runtime/backoff.ts';
import { postgresError, sqlstateOf } from './failures.ts';
import type { Pool } from './pool.ts';
import { isAway, lookAtPrimary, lookAtReplica, ReadEnd } from './read-replica.ts';

export interface ReadPoolOptions {
  readonly applicationName: string;
  /** Connections to each server. */
  readonly max: number;
  readonly now: () => number;
  readonly random: () => number;
  /** When the primary does not answer, a replica may, however far behind it is; the answer says so. */
  readonly staleWithoutPrimary: boolean;
}

export interface ReadWish {
  /**
   * The reader's own write, by the LSN behind its commit: a replica that has not replayed it is passed over. `latest`: what
   * the primary has now, waited for a moment; a replica within its maxLag is taken all the same.
   */
  readonly after?: bigint | 'latest';
}

export interface ReadAnswer<Result> {
  readonly result: Result;
  /** `primary`, or the replica's name. */
  readonly server: string;
  /** Why no replica answered, or how far behind it may be; null: nothing to say. */
  readonly note: string | null;
}

interface Replica {
  readonly name: string;
  readonly maxLagMs: number;
  readonly end: ReadEnd<ReplicaSight>;
}

/** What servers said is good for so long; a lag is counted from when it was said. */
const sightAgeMs = 250;
const latestWaitMs = 1000;
const sampleLimit = 240;
/** What a statement may take beyond its own time-out, which the server keeps, before the server counts as gone. */
const marginMs = 2000;

/**
 * Reads on replicas that are proven to be within their bound, else on the primary. A replica that is away costs no call a
 * time-out: it is asked again now and then, beside the calls.
 */
export class ReadPool {
  readonly #primary: ReadEnd<PrimarySight>;
  readonly #replicas: readonly Replica[];
  readonly #options: ReadPoolOptions;
  readonly #deadlineMs: number;
  #samples: readonly PrimarySight[] = [];

  constructor(config: PostgresConfig, options: ReadPoolOptions) {
    this.#options = options;
    this.#deadlineMs = config.pool.statementTimeout + marginMs;
    this.#primary = new ReadEnd('primary', config.primary, { ...options, connectTimeoutMs: 5000 }, lookAtPrimary);
    this.#replicas = config.replicas.map(({ name, url, maxLag }) => ({
      name,
      maxLagMs: maxLag,
      end: new ReadEnd(name, url, { ...options, connectTimeoutMs: 1000 }, lookAtReplica),
    }));
  }

  /** `work` may run twice when a replica fails in the middle of it. @throws KPIPE_POSTGRES_… when the primary fails, too */
  async read<Result>(work: (pool: Pool) => Promise<Result>, wish: ReadWish = {}): Promise<ReadAnswer<Result>> {
    const reasons: string[] = [];
    for (const replica of this.#replicas) {
      const verdict = await this.#verdict(replica, wish);
      if (!verdict.may) {
        reasons.push(`${replica.name}: ${verdict.reason}`);
        continue;
      }
      try {
        const result = await replica.end.run(work, this.#deadlineMs);
        return { result, server: replica.name, note: behindNote(verdict.lagMs) };
      } catch (error) {
        if (!isAway(error) && !isRecoveryConflict(error)) {
          throw asKpipeError(error);
        }
        reasons.push(`${replica.name}: ${messageOf(error)}`);
      }
    }
    return this.#onPrimary(work, reasons);
  }

  async close(): Promise<void> {
    await Promise.all([this.#primary.close(), ...this.#replicas.map(({ end }) => end.close())]);
  }

  async #onPrimary<Result>(
    work: (pool: Pool) => Promise<Result>,
    reasons: readonly string[],
  ): Promise<ReadAnswer<Result>> {
    try {
      const result = await this.#primary.run(work, this.#deadlineMs);
      return { result, server: 'primary', note: reasons.length === 0 ? null : reasons.join('; ') };
    } catch (error) {
      if (isAway(error) && this.#options.staleWithoutPrimary) {
        const answer = await this.#stale(work);
        if (answer !== undefined) {
          return answer;
        }
      }
      throw asKpipeError(error);
    }
  }

  /** The primary is away: whichever replica answers, with how old it may be. */
  async #stale<Result>(work: (pool: Pool) => Promise<Result>): Promise<ReadAnswer<Result> | undefined> {
    for (const { name, end } of this.#replicas) {
      const sight = await end.sight(sightAgeMs);
      if (sight === undefined || !sight.inRecovery) {
        continue;
      }
      const done = await end.run(work, this.#deadlineMs).then(
        (result) => ({ result }),
        () => undefined,
      );
      if (done !== undefined) {
        const age = sight.replayAgeMs === null ? 'unknown' : formatDuration(sight.replayAgeMs);
        return {
          ...done,
          server: name,
          note: `the primary does not answer; age of the last change that is in it: ${age}`,
        };
      }
    }
    return undefined;
  }

  async #verdict(replica: Replica, { after }: ReadWish): Promise<Verdict> {
    const sample = await this.#sample(after === 'latest' ? 0 : sightAgeMs);
    if (sample === undefined) {
      return { may: false, reason: 'without the primary its lag is not known' };
    }
    if (after === 'latest') {
      const verdict = await this.#awaited(replica, sample.lsn);
      return verdict.may ? verdict : this.#judge(replica, null, sightAgeMs);
    }
    const verdict = await this.#judge(replica, after ?? null, sightAgeMs);
    // What it said a moment ago may be too old for a write that was just made.
    return verdict.may || after === undefined ? verdict : this.#judge(replica, after, 0);
  }

  async #judge({ end, maxLagMs }: Replica, after: bigint | null, maxAgeMs: number): Promise<Verdict> {
    const sight = await end.sight(maxAgeMs);
    return sight === undefined
      ? { may: false, reason: 'it does not answer' }
      : mayRead(sight, this.#samples, { maxLagMs, after }, this.#options.now());
  }

  async #awaited(replica: Replica, after: bigint): Promise<Verdict> {
    const untilMs = this.#options.now() + latestWaitMs;
    for (;;) {
      // Who has what the primary had when it was asked is not behind, whatever its bound.
      const verdict = await this.#judge({ ...replica, maxLagMs: Number.POSITIVE_INFINITY }, after, 0);
      const sight = await replica.end.sight(sightAgeMs);
      const mayYet = sight !== undefined && sight.inRecovery && sight.replayedLsn !== null && sight.replayedLsn < after;
      if (verdict.may || !mayYet || this.#options.now() >= untilMs) {
        return verdict;
      }
      await wait(10, new AbortController().signal);
    }
  }

  async #sample(maxAgeMs: number): Promise<PrimarySight | undefined> {
    const sample = await this.#primary.sight(maxAgeMs);
    if (sample !== undefined && sample !== this.#samples.at(-1)) {
      this.#samples = [...this.#samples, sample].slice(-sampleLimit);
    }
    return sample;
  }
}

function asKpipeError(error: unknown): Error {
  return sqlstateOf(error) === undefined && error instanceof Error && !isAway(error) ? error : postgresError(error);
}

/** Replay had to go on: the query was ended for it. The primary has no such conflicts. */
function isRecoveryConflict(error: unknown): boolean {
  return (error instanceof KpipeError ? error.where['sqlstate'] : sqlstateOf(error)) === '40001';
}

/** Below a second nobody cares. */
function behindNote(lagMs: number): string | null {
  return lagMs < 1000 ? null : `up to ${formatDuration(lagMs)} behind the primary`;
}
