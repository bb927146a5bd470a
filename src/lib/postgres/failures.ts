import { codeOf, KpipeError, messageOf } from '../errors.ts';

/**
 * What an error from PostgreSQL (or from the way to it) means. By SQLSTATE where the server spoke, by Node's code where
 * it could not. Classes: PostgreSQL, appendix A.
 */
export type FailureKind =
  /** The record cannot be stored: it becomes a dead letter. */
  | 'record'
  /** The server is away, busy, read-only or overloaded: wait and try again. */
  | 'sink'
  /** Something must be changed by a person first: configuration, rights, schema. */
  | 'configuration';

/** Conditions of the server, not of the data, outside the classes below. */
const sinkStates = new Set(['25006', '25P03', '25P04', '72000', 'XX000', 'XX001']);
const sinkClasses = new Set(['08', '40', '53', '55', '57', '58']);
/** Limits that the record's own size or shape exceeds; 21000: two records of one batch to one row. */
const recordStates = new Set(['21000', '44000', '54000', '54001', '54011']);
/** Data, integrity, and what triggers of the operator's own raise without naming a code (P0001). */
const recordClasses = new Set(['22', '23', 'P0']);

const sqlstatePattern = /^[0-9A-Z]{5}$/;

export function sqlstateOf(error: unknown): string | undefined {
  const code = codeOf(error);
  // Node's codes (EPIPE) can look like one; the server's errors carry a severity.
  const spoken = typeof error === 'object' && error !== null && 'severity' in error;
  return spoken && code !== undefined && sqlstatePattern.test(code) ? code : undefined;
}

/** Node's and OpenSSL's names for a certificate that is not accepted: no retry changes that. */
const untrusted = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function isUntrusted(error: unknown): boolean {
  return untrusted.has(codeOf(error) ?? '');
}

export function kindOfFailure(error: unknown): FailureKind {
  const state = sqlstateOf(error);
  if (state === undefined) {
    // No answer: the connection broke, timed out, or was refused.
    return error instanceof TypeError || error instanceof RangeError || isUntrusted(error) ? 'configuration' : 'sink';
  }
  const stateClass = state.slice(0, 2);
  if (recordStates.has(state) || recordClasses.has(stateClass)) {
    return 'record';
  }
  return sinkStates.has(state) || sinkClasses.has(stateClass) ? 'sink' : 'configuration';
}

/**
 * A driver's error for the operator. The server's own text is kept only where it cannot quote row data: what refuses a
 * record may, so of those only the SQLSTATE is told.
 */
export function postgresError(
  error: unknown,
  server: { readonly host?: string | undefined; readonly port?: number | undefined } = {},
): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const where = { host: server.host === undefined ? undefined : `${server.host}:${server.port ?? 5432}` };
  const state = sqlstateOf(error);
  if (isUntrusted(error)) {
    return new KpipeError('KPIPE_POSTGRES_UNTRUSTED', `PostgreSQL's certificate is refused: ${messageOf(error)}`, {
      where,
      next: 'name the CA that signed it in the URL (sslmode=verify-full&sslrootcert=FILE) and the host that it was made for',
      cause: error,
    });
  }
  if (state === undefined) {
    return new KpipeError('KPIPE_POSTGRES_UNREACHABLE', `PostgreSQL does not answer: ${messageOf(error)}`, {
      where,
      next: 'is it running, and is postgres.primary in kpipe.yaml right? `kpipe doctor` looks at every store',
      cause: error,
    });
  }
  return new KpipeError(codeFor(state), describe(state, error), {
    where: { ...where, sqlstate: state },
    next: nextFor(state),
    cause: error,
  });
}

function codeFor(state: string): 'KPIPE_SCHEMA_MISSING' | 'KPIPE_POSTGRES_UNREACHABLE' | 'KPIPE_POSTGRES_FAILED' {
  if (['42P01', '3F000', '42703', '42883'].includes(state)) {
    return 'KPIPE_SCHEMA_MISSING';
  }
  return state.startsWith('08') ||
    state.startsWith('57P') ||
    state.startsWith('28') ||
    state === '3D000' ||
    state === '53300'
    ? 'KPIPE_POSTGRES_UNREACHABLE'
    : 'KPIPE_POSTGRES_FAILED';
}

function describe(state: string, error: unknown): string {
  const quotesData = recordStates.has(state) || recordClasses.has(state.slice(0, 2));
  return quotesData ? `PostgreSQL refused a value (SQLSTATE ${state})` : `PostgreSQL: ${messageOf(error)}`;
}

function nextFor(state: string): string {
  if (codeFor(state) === 'KPIPE_SCHEMA_MISSING') {
    return 'run `kpipe migrate`';
  }
  if (state.startsWith('28')) {
    return 'check the user and password of postgres.primary in kpipe.yaml (or PGPASSFILE)';
  }
  if (state === '3D000') {
    return 'create the database, or correct its name in postgres.primary of kpipe.yaml';
  }
  return state === '42501' ? 'grant the right to the user of postgres.primary' : '`kpipe doctor` looks at every store';
}
