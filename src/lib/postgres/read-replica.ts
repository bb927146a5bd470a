import type { Secret } from '../config/secrets.ts';
import { withDeadline } from '../deadline.ts';
import { KpipeError } from '../errors.ts';
import type { PrimarySight, ReplicaSight } from '../replication/read-guard.ts';
import { Circuit } from '../runtime/circuit.ts';
import { openCuttablePool, type CuttablePool } from './cuttable-pool.ts';
import { sqlstateOf } from './failures.ts';
import type { Pool } from './pool.ts';

/** How long a server may take to say where it stands: it is milliseconds when all is well. */
const sightDeadlineMs = 1000;

export interface EndOptions {
  readonly applicationName: string;
  readonly max: number;
  readonly connectTimeoutMs: number;
  readonly now: () => number;
  readonly random: () => number;
}

/**
 * One server that reads can go to: its pool, its circuit, and what it said of itself lately. Callers that ask at once share
 * one question.
 */
export class ReadEnd<Sight extends { readonly atMs: number }> {
  readonly name: string;
  readonly #url: Secret;
  readonly #options: EndOptions;
  readonly #look: (pool: Pool, atMs: number) => Promise<Sight>;
  readonly #circuit: Circuit;
  #opened: Promise<CuttablePool> | undefined;
  #asking: Promise<Sight> | undefined;
  #sight: Sight | undefined;

  constructor(name: string, url: Secret, options: EndOptions, look: (pool: Pool, atMs: number) => Promise<Sight>) {
    this.name = name;
    this.#url = url;
    this.#options = options;
    this.#look = look;
    this.#circuit = new Circuit({ baseMs: 1000, capMs: 30_000 }, options.random);
  }

  /**
   * What it says of itself, no older than `maxAgeMs`; undefined: it is away, and that costs nothing while its circuit is
   * open. A trial of an open circuit runs beside the callers, who do not wait for it.
   */
  async sight(maxAgeMs: number): Promise<Sight | undefined> {
    const nowMs = this.#options.now();
    if (!this.#circuit.isClosed) {
      if (this.#circuit.startTrial(nowMs)) {
        this.#ask().catch(() => undefined);
      }
      return undefined;
    }
    if (this.#sight !== undefined && nowMs - this.#sight.atMs <= maxAgeMs) {
      return this.#sight;
    }
    return this.#ask().catch(() => undefined);
  }

  /** Runs a read there. A server that does not answer is not asked again for a while. */
  async run<Result>(work: (pool: Pool) => Promise<Result>, deadlineMs: number): Promise<Result> {
    const opened = await this.#open();
    try {
      return await withDeadline(work(opened.pool), deadlineMs, 'no answer');
    } catch (error) {
      if (isAway(error)) {
        this.#failed(opened);
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    await (await this.#opened?.catch(() => undefined))?.close();
  }

  #ask(): Promise<Sight> {
    this.#asking ??= this.#askNow().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askNow(): Promise<Sight> {
    const opened = await this.#open();
    try {
      // The time before the question: what it says is not older than that.
      const sight = await withDeadline(this.#look(opened.pool, this.#options.now()), sightDeadlineMs, 'no answer');
      this.#circuit.succeeded();
      this.#sight = sight;
      return sight;
    } catch (error) {
      this.#failed(opened);
      throw error;
    }
  }

  #failed({ cut }: CuttablePool): void {
    this.#sight = undefined;
    this.#circuit.failed(this.#options.now());
    cut();
  }

  #open(): Promise<CuttablePool> {
    const { applicationName, max, connectTimeoutMs } = this.#options;
    this.#opened ??= openCuttablePool(this.#url, { applicationName, max, connectTimeoutMs });
    return this.#opened;
  }
}

/** It did not speak, or said that it is going away; any other answer is about the question. */
export function isAway(error: unknown): boolean {
  if (error instanceof KpipeError) {
    return error.code === 'KPIPE_POSTGRES_UNREACHABLE';
  }
  const state = sqlstateOf(error);
  return state === undefined || state.startsWith('08') || state.startsWith('57P') || state === '53300';
}

interface SightRow {
  readonly in_recovery: boolean;
  readonly system_identifier: string;
  readonly database: string;
  readonly lsn: string | null;
  readonly replay_age_ms: number | null;
}

const selectSight = `
  select pg_is_in_recovery() as in_recovery,
    (select system_identifier::text from pg_control_system()) as system_identifier,
    current_database() as database,
    ((case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end) - '0/0')::text as lsn,
    extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 * 1000 as replay_age_ms`;

async function sightRow(pool: Pool): Promise<SightRow> {
  const { rows } = await pool.query<SightRow>(selectSight);
  const row = rows[0];
  if (row === undefined) {
    throw new Error('the server answered nothing');
  }
  return row;
}

export async function lookAtReplica(pool: Pool, atMs: number): Promise<ReplicaSight> {
  const row = await sightRow(pool);
  return {
    atMs,
    inRecovery: row.in_recovery,
    systemIdentifier: row.system_identifier,
    database: row.database,
    replayedLsn: row.lsn === null ? null : BigInt(row.lsn),
    replayAgeMs: row.replay_age_ms,
  };
}

/** Where the primary's WAL ends; a primary that is in recovery itself has no say. */
export async function lookAtPrimary(pool: Pool, atMs: number): Promise<PrimarySight> {
  const row = await sightRow(pool);
  return { atMs, lsn: BigInt(row.lsn ?? '0'), systemIdentifier: row.system_identifier, database: row.database };
}
