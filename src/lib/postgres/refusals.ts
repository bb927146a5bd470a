import { KpipeError } from '../errors.ts';
import type { OffsetRow, Rejection } from '../runtime/sink.ts';
import { kindOfFailure, sqlstateOf } from './failures.ts';
import type { PoolClient } from './pool.ts';

/** Rows that PostgreSQL does not take; the transaction that found them is rolled back. */
export class RejectedError extends Error {
  readonly rejections: readonly Rejection[];

  constructor(rejections: readonly Rejection[]) {
    super('rejected');
    this.rejections = rejections.toSorted((left, right) => (left.offset < right.offset ? -1 : 1));
  }
}

/** The rows as rejections, when the failure is about data; null when it is about the server or the schema. */
export function rejectionsOf(error: unknown, rows: readonly OffsetRow[]): readonly Rejection[] | null {
  if (kindOfFailure(error) !== 'record') {
    return null;
  }
  const sqlstate = sqlstateOf(error) ?? '';
  const message = `PostgreSQL refused the record (SQLSTATE ${sqlstate})`;
  return rows.map((row) => ({ offset: row.offset, reason: reasonOf(sqlstate), sqlstate, message }));
}

/**
 * Tries the rows together. Those that the failure names are left out and the rest is tried again; where it names none,
 * halves are tried until the refused rows are alone: k of n cost k log n attempts. What is taken stays, since a row may
 * be refused only for one before it (a unique column). None refused: all are in, together or in parts.
 */
export async function refusedRows<Row extends OffsetRow>(
  client: PoolClient,
  rows: readonly Row[],
  attempt: (rows: readonly Row[]) => Promise<void>,
): Promise<readonly Rejection[]> {
  if (rows.length === 0) {
    return [];
  }
  await client.query('savepoint attempt');
  try {
    await attempt(rows);
    await client.query('release savepoint attempt');
    return [];
  } catch (error) {
    const isNamed = error instanceof RejectedError;
    const refused = isNamed ? error.rejections : rejectionsOf(error, rows);
    if (refused === null) {
      throw error;
    }
    await client.query('rollback to savepoint attempt; release savepoint attempt');
    if (rows.length === 1) {
      return refused;
    }
    if (isNamed) {
      const rest = withoutOffsets(rows, refused);
      return [...refused, ...(await refusedRows(client, rest, attempt))];
    }
  }
  const middle = Math.ceil(rows.length / 2);
  const before = await refusedRows(client, rows.slice(0, middle), attempt);
  return [...before, ...(await refusedRows(client, rows.slice(middle), attempt))];
}

function withoutOffsets<Row extends OffsetRow>(rows: readonly Row[], refused: readonly Rejection[]): readonly Row[] {
  const offsets = new Set(refused.map(({ offset }) => offset));
  return rows.filter((row) => !offsets.has(row.offset));
}

/** What COMMIT refuses though every record was taken before it: nothing that a retry or a dead letter would mend. */
export function refusedAsAWhole(error: unknown): KpipeError {
  return new KpipeError(
    'KPIPE_POSTGRES_FAILED',
    `PostgreSQL refuses the transaction (SQLSTATE ${sqlstateOf(error) ?? '?'}), and none of its records alone`,
    {
      next: 'look at the deferred constraints and statement triggers of the tables that the role writes',
      cause: error,
    },
  );
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
