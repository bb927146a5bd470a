import type { PostgresConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { PositionReader, StoredPosition } from '../ports.ts';
import { inTransaction, openPool, type Pool } from './pool.ts';
import { postgresError } from './failures.ts';

/** Reads roles' true positions from the primary. Connects with the first question; the caller closes it. */
export function createPositionReader(config: PostgresConfig, statementTimeoutMs = 3000): PositionReader {
  return new PostgresPositionReader(config, statementTimeoutMs);
}

interface PositionRow {
  readonly topic: string;
  readonly partition: number;
  /** int8 comes as text. */
  readonly next_offset: string;
  readonly epoch: string;
  readonly updated_at: Date;
}

const selectPositions = `
  select topic, partition, next_offset, epoch, updated_at
  from kpipe.consumer_offset
  where role = $1
  order by topic, partition`;

class PostgresPositionReader implements PositionReader {
  readonly #config: PostgresConfig;
  readonly #statementTimeoutMs: number;
  #pool: Promise<Pool> | undefined;

  constructor(config: PostgresConfig, statementTimeoutMs: number) {
    this.#config = config;
    this.#statementTimeoutMs = statementTimeoutMs;
  }

  async positions(role: string): ReturnType<PositionReader['positions']> {
    try {
      this.#pool ??= openPool(this.#config, { applicationName: 'kpipe:lag', max: 1 });
      const rows = await inTransaction(await this.#pool, this.#statementTimeoutMs, async (client) => {
        const result = await client.query<PositionRow>(selectPositions, [role]);
        return result.rows;
      });
      return { kind: 'known', positions: rows.map(storedPosition) };
    } catch (error) {
      return { kind: 'unknown', reason: reasonOf(error) };
    }
  }

  async close(): Promise<void> {
    await (await this.#pool?.catch(() => undefined))?.end();
  }
}

function storedPosition(row: PositionRow): StoredPosition {
  return {
    topic: row.topic,
    partition: row.partition,
    position: BigInt(row.next_offset),
    epoch: BigInt(row.epoch),
    updatedAtMs: row.updated_at.getTime(),
  };
}

function reasonOf(error: unknown): string {
  const failure = error instanceof KpipeError ? error : postgresError(error);
  return failure.code === 'KPIPE_SCHEMA_MISSING'
    ? 'kpipe.consumer_offset is missing: run `kpipe migrate`'
    : failure.message;
}
