import { randomUUID } from 'node:crypto';

import type { Claim, Rejection, SinkBatch, WriteOutcome } from '../runtime/sink.ts';
import { advance, countStored, type StoredCounts } from './consumer-offsets.ts';
import { CopyStream, fromLine, type EncodedRow } from './copy-binary.ts';
import { copyErrorLine, copyInto } from './copy.ts';
import { kindOfFailure, sqlstateOf } from './failures.ts';
import { inTransaction, type Pool, type PoolClient } from './pool.ts';
import { refusedAsAWhole, refusedRows, rejectionsOf, RejectedError } from './refusals.ts';

/** A table that the bulk path fills, and how a repeat is told from a new row. */
export interface BulkTable<Row extends EncodedRow> {
  readonly role: string;
  readonly table: string;
  readonly columns: readonly string[];
  /** Columns of the unique key. */
  readonly key: readonly string[];
  /** Runs in the transaction after the rows are in, with those that took effect: new ones, and re-read ones. */
  readonly applyEffects?: (client: PoolClient, claim: Claim, rows: readonly Row[]) => Promise<void>;
}

export interface TableWriterOptions {
  readonly pool: Pool;
  readonly statementTimeoutMs: number;
}

/** After a repeated key the staging path is taken for this many batches: repeats come in runs (replays, retries). */
const stagedBatches = 20;
const repeatedKey = '23505';
const checkDeferred = 'set constraints all immediate; set constraints all deferred';
/** A table that refuses most of a batch is not read to its end: the breaker must see what is going on. */
const maxNamedAtOnce = 100;

/**
 * Writes a batch and its position in one transaction: compare-and-set first, then COPY straight into the keyed table
 * under a savepoint; on a repeated key (23505) COPY into a temporary table and INSERT … ON CONFLICT DO NOTHING instead.
 */
export class TableWriter<Row extends EncodedRow> {
  readonly #table: BulkTable<Row>;
  readonly #options: TableWriterOptions;
  readonly #staging = `kpipe_staging_${randomUUID().slice(0, 8)}`;
  readonly #stream = new CopyStream();
  #stagedLeft = 0;

  constructor(table: BulkTable<Row>, options: TableWriterOptions) {
    this.#table = table;
    this.#options = options;
  }

  async write(claim: Claim, batch: SinkBatch<Row>): Promise<WriteOutcome> {
    try {
      return await this.#transact(claim, batch, 'together');
    } catch (error) {
      // Whatever a statement refuses is answered; this is COMMIT, whose deferred constraints name no row.
      if (kindOfFailure(error) !== 'record') {
        throw error;
      }
    }
    try {
      return await this.#transact(claim, batch, 'in parts');
    } catch (error) {
      throw kindOfFailure(error) === 'record' ? refusedAsAWhole(error) : error;
    }
  }

  async #transact(claim: Claim, batch: SinkBatch<Row>, how: 'together' | 'in parts'): Promise<WriteOutcome> {
    try {
      return await inTransaction(this.#options.pool, this.#options.statementTimeoutMs, (client) =>
        this.#writeIn(client, claim, batch, how),
      );
    } catch (error) {
      if (error instanceof FencedError) {
        return { kind: 'fenced' };
      }
      if (error instanceof RejectedError) {
        return { kind: 'rejected', rejections: error.rejections };
      }
      throw error;
    }
  }

  async #writeIn(
    client: PoolClient,
    claim: Claim,
    batch: SinkBatch<Row>,
    how: 'together' | 'in parts',
  ): Promise<WriteOutcome> {
    const advanced = await advance(client, this.#table.role, claim, batch);
    if (advanced === 'fenced') {
      throw new FencedError();
    }
    if (advanced === 'already-moved' || batch.rows.length === 0) {
      return { kind: 'written', stored: batch.rows.length, duplicates: 0 };
    }
    const store =
      how === 'together' ? this.#store(client, claim, batch.rows) : this.#storeParts(client, claim, batch.rows);
    const counts = await store;
    await countStored(client, this.#table.role, claim, counts);
    return { kind: 'written', stored: counts.stored, duplicates: counts.duplicates };
  }

  async #store(client: PoolClient, claim: Claim, rows: readonly Row[]): Promise<StoredCounts> {
    if (this.#stagedLeft > 0) {
      this.#stagedLeft -= 1;
      return this.#storeStaged(client, claim, rows);
    }
    await client.query('savepoint direct');
    try {
      await this.#copy(client, this.#table.table, rows);
    } catch (error) {
      if (error instanceof RejectedError || kindOfFailure(error) !== 'record') {
        throw error;
      }
      // A repeated key, or a refusal without a line: the staging path tells which rows.
      await client.query('rollback to savepoint direct');
      this.#stagedLeft = sqlstateOf(error) === repeatedKey ? stagedBatches : 0;
      return this.#storeStaged(client, claim, rows);
    }
    await this.#applyEffects(client, claim, rows);
    return { stored: rows.length, duplicates: 0, rereads: 0 };
  }

  /** COPY into a temporary table, then insert what is new. The caller's transaction goes on after a rejection. */
  async #storeStaged(client: PoolClient, claim: Claim, rows: readonly Row[]): Promise<StoredCounts> {
    await client.query('savepoint staged');
    let inserted: number;
    try {
      inserted = await this.#insertStaged(client, rows);
    } catch (error) {
      if (error instanceof RejectedError || kindOfFailure(error) !== 'record') {
        throw error;
      }
      await client.query('rollback to savepoint staged');
      const refused = await refusedRows(client, rows, async (part) => {
        await this.#insertStaged(client, part);
        await client.query(`drop table ${this.#staging}`);
      });
      throw refused.length === 0 ? error : new RejectedError(refused);
    }
    const effective = await this.#effectiveRows(client, rows);
    await this.#applyEffects(client, claim, effective);
    return { stored: inserted, duplicates: rows.length - inserted, rereads: effective.length - inserted };
  }

  /**
   * For a batch that COMMIT refuses: each part with its effects, and the deferred constraints checked behind it. A row
   * that only waits for a later one (a child before its parent) is tried again behind the rest.
   */
  async #storeParts(client: PoolClient, claim: Claim, rows: readonly Row[]): Promise<StoredCounts> {
    const { applyEffects } = this.#table;
    // What is refused before there is any row is refused whatever the rows are.
    await client.query(checkDeferred);
    let stored = 0;
    let rereads = 0;
    const attempt = async (part: readonly Row[]): Promise<void> => {
      const inserted = await this.#insertStaged(client, part);
      const effective = await this.#effectiveRows(client, part);
      await client.query(`drop table ${this.#staging}`);
      await applyEffects?.(client, claim, effective);
      await client.query(checkDeferred);
      stored += inserted;
      rereads += effective.length - inserted;
    };
    let refused = await refusedRows(client, rows, attempt);
    for (let before = rows.length; refused.length > 0 && refused.length < before;) {
      before = refused.length;
      const offsets = new Set(refused.map(({ offset }) => offset));
      refused = await refusedRows(
        client,
        rows.filter((row) => offsets.has(row.offset)),
        attempt,
      );
    }
    if (refused.length > 0) {
      throw new RejectedError(refused);
    }
    return { stored, duplicates: rows.length - stored, rereads };
  }

  /**
   * COPY, all or nothing. Behind a line that the server names the search goes on, so that k refused rows cost k + 1
   * attempts and one rejection. @throws RejectedError with the rows that were named; else the server's error
   */
  async #copy(client: PoolClient, table: string, rows: readonly Row[]): Promise<void> {
    const { columns } = this.#table;
    const stream = this.#stream.of(rows);
    const refused: Rejection[] = [];
    await client.query('savepoint copy');
    for (let firstLine = 0; ;) {
      try {
        await copyInto(client, table, columns, firstLine === 0 ? stream : fromLine(stream, firstLine));
        break;
      } catch (error) {
        const line = copyErrorLine(error);
        const rowOfLine = rows.flatMap((row, index) => Array<number>(row.lines).fill(index));
        const index = line === undefined ? undefined : rowOfLine[firstLine + line - 1];
        const named = index === undefined ? null : rejectionsOf(error, rows.slice(index, index + 1));
        if (named === null || sqlstateOf(error) === repeatedKey) {
          // What was named is certain already; the rest is found when the batch comes without it.
          if (refused.length > 0 && kindOfFailure(error) === 'record') {
            break;
          }
          throw error;
        }
        refused.push(...named);
        firstLine = rowOfLine.findIndex((row) => row > (index ?? 0));
        if (firstLine === -1 || refused.length >= maxNamedAtOnce) {
          break;
        }
        await client.query('rollback to savepoint copy');
      }
    }
    if (refused.length > 0) {
      throw new RejectedError(refused);
    }
  }

  /** Answers how many records became rows: lines of one record count once. */
  async #insertStaged(client: PoolClient, rows: readonly Row[]): Promise<number> {
    const { table, columns, key } = this.#table;
    const list = columns.join(', ');
    await client.query(
      `create temporary table ${this.#staging} on commit drop as select ${list} from ${table} with no data`,
    );
    await this.#copy(client, this.#staging, rows);
    const inserted = await client.query<{ records: number }>(
      `with inserted as (
         insert into ${table} (${list})
         select ${list} from ${this.#staging} order by kafka_offset
         on conflict (${key.join(', ')}) do nothing
         returning kafka_offset
       )
       select count(distinct kafka_offset)::int as records from inserted`,
    );
    return inserted.rows[0]?.records ?? 0;
  }

  /** New rows, and those that are there already from this very record: it is being read again. Not a producer's repeats. */
  async #effectiveRows(client: PoolClient, rows: readonly Row[]): Promise<readonly Row[]> {
    const { table, key } = this.#table;
    const repeated = await client.query<{ kafka_offset: string }>(
      `select distinct s.kafka_offset
         from ${this.#staging} s
        where not exists (
          select from ${table} t
           where ${key.map((column) => `t.${column} = s.${column}`).join(' and ')}
             and t.topic = s.topic and t.partition = s.partition and t.kafka_offset = s.kafka_offset
        )`,
    );
    const withoutEffect = new Set(repeated.rows.map((row) => BigInt(row.kafka_offset)));
    return rows.filter((row) => !withoutEffect.has(row.offset));
  }

  /** The rows' effects beside the table itself. A constraint of an operational table may refuse a row's effect. */
  async #applyEffects(client: PoolClient, claim: Claim, rows: readonly Row[]): Promise<void> {
    const { applyEffects } = this.#table;
    if (applyEffects === undefined || rows.length === 0) {
      return;
    }
    const refused = await refusedRows(client, rows, (part) => applyEffects(client, claim, part));
    if (refused.length > 0) {
      throw new RejectedError(refused);
    }
  }
}

class FencedError extends Error {}
