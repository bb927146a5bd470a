import { randomUUID } from 'node:crypto';

import type { Claim, Rejection, SinkBatch, WriteOutcome } from '../runtime/sink.ts';
import { advance, countStored } from './consumer-offsets.ts';
import { CopyRows } from './copy-binary.ts';
import { copyErrorLine, copyInto } from './copy.ts';
import { kindOfFailure, sqlstateOf } from './failures.ts';
import { inTransaction, type Pool, type PoolClient } from './pool.ts';

/** A table that the bulk path fills: how rows are encoded and how a repeat is told from a new row. */
export interface BulkTable<Row> {
  readonly role: string;
  readonly table: string;
  readonly columns: readonly string[];
  /** Columns of the unique key. */
  readonly key: readonly string[];
  /** Writes the rows; answers `rowOfLine[line - 1]`, the index of the batch's row that a COPY line comes from. */
  readonly encode: (rows: readonly Row[], claim: Claim, copy: CopyRows) => readonly number[];
  readonly offsetOf: (row: Row) => bigint;
  /** Runs in the transaction after the rows are in, with those that took effect: new ones, and re-read ones. */
  readonly applyEffects?: (client: PoolClient, claim: Claim, rows: readonly Row[]) => Promise<void>;
}

interface EncodedRows {
  readonly bytes: Buffer;
  readonly rowOfLine: readonly number[];
}

export interface TableWriterOptions {
  readonly pool: Pool;
  readonly statementTimeoutMs: number;
}

/** After a repeated key the staging path is taken for this many batches: repeats come in runs (replays, retries). */
const stagedBatches = 20;

/**
 * Writes a batch and its position in one transaction: compare-and-set first, then COPY straight into the keyed table
 * under a savepoint; on a repeated key (23505) COPY into a temporary table and INSERT … ON CONFLICT DO NOTHING instead.
 */
export class TableWriter<Row> {
  readonly #table: BulkTable<Row>;
  readonly #options: TableWriterOptions;
  readonly #staging = `kpipe_staging_${randomUUID().slice(0, 8)}`;
  /** Used again for each batch: megabytes of fresh memory a batch would outrun the garbage collector. */
  readonly #copy: CopyRows;
  #stagedLeft = 0;

  constructor(table: BulkTable<Row>, options: TableWriterOptions) {
    this.#table = table;
    this.#options = options;
    this.#copy = new CopyRows(table.columns.length);
  }

  async write(claim: Claim, batch: SinkBatch<Row>): Promise<WriteOutcome> {
    try {
      return await inTransaction(this.#options.pool, this.#options.statementTimeoutMs, (client) =>
        this.#writeIn(client, claim, batch),
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

  async #writeIn(client: PoolClient, claim: Claim, batch: SinkBatch<Row>): Promise<WriteOutcome> {
    const advanced = await advance(client, this.#table.role, claim, batch);
    if (advanced === 'fenced') {
      throw new FencedError();
    }
    if (advanced === 'already-moved' || batch.rows.length === 0) {
      return { kind: 'written', stored: batch.rows.length, duplicates: 0 };
    }
    const counts = await this.#store(client, claim, batch.rows);
    await countStored(client, this.#table.role, claim, counts);
    return { kind: 'written', ...counts };
  }

  #encode(rows: readonly Row[], claim: Claim): EncodedRows {
    this.#copy.clear();
    const rowOfLine = this.#table.encode(rows, claim, this.#copy);
    return { bytes: this.#copy.finish(), rowOfLine };
  }

  async #store(
    client: PoolClient,
    claim: Claim,
    rows: readonly Row[],
  ): Promise<{ stored: number; duplicates: number }> {
    const encoded = this.#encode(rows, claim);
    if (this.#stagedLeft > 0) {
      this.#stagedLeft -= 1;
      return this.#storeStaged(client, claim, rows, encoded);
    }
    await client.query('savepoint direct');
    try {
      await copyInto(client, this.#table.table, this.#table.columns, encoded.bytes);
    } catch (error) {
      const named = this.#rejectionOf(error, rows, encoded);
      const isRepeat = sqlstateOf(error) === '23505';
      if (!isRepeat && (named === null || named.rejections.length === 1)) {
        throw named ?? error;
      }
      // A repeated key, or a refusal without a line: the staging path tells which rows.
      await client.query('rollback to savepoint direct');
      this.#stagedLeft = isRepeat ? stagedBatches : 0;
      return this.#storeStaged(client, claim, rows, encoded);
    }
    await this.#applyEffects(client, claim, rows);
    return { stored: rows.length, duplicates: 0 };
  }

  /** COPY into a temporary table, then insert what is new. The caller's transaction goes on after a rejection. */
  async #storeStaged(
    client: PoolClient,
    claim: Claim,
    rows: readonly Row[],
    encoded: EncodedRows,
  ): Promise<{ stored: number; duplicates: number }> {
    await client.query('savepoint staged');
    let inserted: number;
    try {
      inserted = await this.#insertStaged(client, encoded);
    } catch (error) {
      const named = this.#rejectionOf(error, rows, encoded);
      if (named === null || named.rejections.length === 1 || rows.length === 1) {
        throw named ?? error;
      }
      await client.query('rollback to savepoint staged');
      const refused = await this.#refused(client, rows, async (part) => {
        await this.#insertStaged(client, this.#encode(part, claim));
        await client.query(`drop table ${this.#staging}`);
      });
      throw refused.length === 0 ? error : new RejectedError(refused);
    }
    const effective = await this.#effectiveRows(client, rows);
    await this.#applyEffects(client, claim, effective);
    return { stored: inserted, duplicates: rows.length - inserted };
  }

  /** Answers how many records became rows: lines of one record count once. */
  async #insertStaged(client: PoolClient, encoded: EncodedRows): Promise<number> {
    const { table, columns } = this.#table;
    const list = columns.join(', ');
    await client.query(
      `create temporary table ${this.#staging} on commit drop as select ${list} from ${table} with no data`,
    );
    await copyInto(client, this.#staging, columns, encoded.bytes);
    const inserted = await client.query<{ records: number }>(
      `with inserted as (
         insert into ${table} (${list})
         select ${list} from ${this.#staging} order by kafka_offset
         on conflict do nothing
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
    return rows.filter((row) => !withoutEffect.has(this.#table.offsetOf(row)));
  }

  /** The rows' effects beside the table itself. A constraint of an operational table may refuse a row's effect. */
  async #applyEffects(client: PoolClient, claim: Claim, rows: readonly Row[]): Promise<void> {
    const { applyEffects } = this.#table;
    if (applyEffects === undefined || rows.length === 0) {
      return;
    }
    const refused = await this.#refused(client, rows, (part) => applyEffects(client, claim, part));
    if (refused.length > 0) {
      throw new RejectedError(refused);
    }
  }

  /**
   * Tries the rows together and, where the server refuses and names no line, by halves until the refused ones are alone:
   * k of n cost k log n attempts. What it takes stays, since a row may be refused only for one before it (a unique
   * column). None refused: all are in, together or in parts.
   */
  async #refused(
    client: PoolClient,
    rows: readonly Row[],
    attempt: (rows: readonly Row[]) => Promise<void>,
  ): Promise<readonly Rejection[]> {
    await client.query('savepoint attempt');
    try {
      await attempt(rows);
      await client.query('release savepoint attempt');
      return [];
    } catch (error) {
      const suspects = this.#suspects(error, rows);
      if (suspects === null) {
        throw error;
      }
      await client.query('rollback to savepoint attempt; release savepoint attempt');
      if (rows.length === 1) {
        return suspects;
      }
    }
    const middle = Math.ceil(rows.length / 2);
    const before = await this.#refused(client, rows.slice(0, middle), attempt);
    return [...before, ...(await this.#refused(client, rows.slice(middle), attempt))];
  }

  /** What the server rejects of the data: the line that COPY names; without one, every row is a suspect. */
  #rejectionOf(error: unknown, rows: readonly Row[], encoded: EncodedRows): RejectedError | null {
    const line = copyErrorLine(error);
    const index = line === undefined ? undefined : encoded.rowOfLine[line - 1];
    const suspects = this.#suspects(error, index === undefined ? rows : rows.slice(index, index + 1));
    return suspects === null ? null : new RejectedError(suspects);
  }

  /** The rows as rejections, when the failure is about data; null when it is about the server or the schema. */
  #suspects(error: unknown, rows: readonly Row[]): readonly Rejection[] | null {
    if (kindOfFailure(error) !== 'record') {
      return null;
    }
    const sqlstate = sqlstateOf(error) ?? '';
    const message = `PostgreSQL refused the record (SQLSTATE ${sqlstate})`;
    return rows.map((row) => ({ offset: this.#table.offsetOf(row), reason: reasonOf(sqlstate), sqlstate, message }));
  }
}

/** The dead letter's reason for what validation let through and PostgreSQL did not. */
function reasonOf(sqlstate: string): string {
  switch (sqlstate) {
    case '22003':
      return 'number_range';
    case '22007':
    case '22008':
    case '22009':
      return 'timestamp_range';
    case '22P05':
    case '22021':
      return 'unstorable_text';
    case '54001':
      return 'too_deep';
    case '54000':
      return 'too_large';
    default:
      return 'sink_rejected';
  }
}

class FencedError extends Error {}

class RejectedError extends Error {
  readonly rejections: readonly Rejection[];

  constructor(rejections: readonly Rejection[]) {
    super('rejected');
    this.rejections = rejections;
  }
}
