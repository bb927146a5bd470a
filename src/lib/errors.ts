/**
 * Every failure that kpipe reports has a code from this closed list. A code decides the exit code, so that a script can
 * rely on both; the text says what happened and what to do next, and may change.
 *
 * Exit codes, the same for every command: 0 done · 1 failed · 2 usage or configuration · 3 drift or unhealthy ·
 * 4 refused by a guard, nothing changed · 5 partly done · 130 interrupted.
 */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5 | 130;

const exitCodes = {
  // usage and configuration
  KPIPE_USAGE: 2,
  KPIPE_CONFIG_NOT_FOUND: 2,
  KPIPE_CONFIG_INVALID: 2,
  KPIPE_CONFIG_UNSAFE: 2,
  KPIPE_SECRET_UNAVAILABLE: 2,
  KPIPE_CONTEXT_UNKNOWN: 2,
  KPIPE_INPUT_INVALID: 2,
  // stores that cannot be reached, or that refuse
  KPIPE_KAFKA_UNREACHABLE: 1,
  KPIPE_KAFKA_FAILED: 1,
  KPIPE_KAFKA_UNTRUSTED: 1,
  KPIPE_KAFKA_UNAUTHENTICATED: 1,
  KPIPE_POSTGRES_UNREACHABLE: 1,
  KPIPE_POSTGRES_FAILED: 1,
  KPIPE_POSTGRES_UNTRUSTED: 1,
  KPIPE_REDIS_UNREACHABLE: 1,
  KPIPE_REDIS_FAILED: 1,
  KPIPE_BIGQUERY_UNREACHABLE: 1,
  KPIPE_BIGQUERY_FAILED: 1,
  KPIPE_BIGQUERY_NO_CREDENTIALS: 1,
  // what a role finds when it starts or runs
  KPIPE_TOPIC_MISSING: 1,
  KPIPE_GROUP_MISSING: 1,
  KPIPE_SCHEMA_MISSING: 1,
  KPIPE_RECORDS_LOST: 1,
  KPIPE_TOPIC_RECREATED: 1,
  KPIPE_DEAD_LETTER_FLOOD: 1,
  KPIPE_NO_PROGRESS: 1,
  KPIPE_DRAIN_DEADLINE: 1,
  KPIPE_PRODUCE_FAILED: 1,
  // backups
  KPIPE_BACKUP_FAILED: 1,
  KPIPE_BACKUP_MISSING: 1,
  KPIPE_BACKUP_MISSED: 1,
  KPIPE_S3_UNREACHABLE: 1,
  KPIPE_S3_FAILED: 1,
  KPIPE_S3_NO_CREDENTIALS: 1,
  // this machine
  KPIPE_DEPENDENCY_MISSING: 1,
  KPIPE_SANDBOX_FAILED: 1,
  KPIPE_INCOMPLETE: 1,
  // guards
  KPIPE_REFUSED: 4,
  KPIPE_LOCKED: 4,
  KPIPE_CONFIRMATION_REQUIRED: 4,
  KPIPE_DECLINED: 4,
  KPIPE_PLAN_STALE: 4,
  // the rest
  KPIPE_PARTLY_DONE: 5,
  KPIPE_INTERRUPTED: 130,
  KPIPE_INTERNAL: 1,
} as const satisfies Readonly<Record<string, ExitCode>>;

export type ErrorCode = keyof typeof exitCodes;

/** What happened where: short names and values, such as `{topic: 'events', partition: 3, host: '127.0.0.1:5432'}`. */
export type ErrorContext = Readonly<Record<string, string | number | bigint | undefined>>;

export interface KpipeErrorOptions {
  /** What the operator should do next: one sentence, or a command. */
  readonly next?: string;
  readonly where?: ErrorContext;
  readonly cause?: unknown;
}

/** A failure with a code, a text for the operator and a next step. `message` never quotes row data or secrets. */
export class KpipeError extends Error {
  override readonly name = 'KpipeError';
  readonly code: ErrorCode;
  readonly next: string | undefined;
  readonly where: ErrorContext;

  constructor(code: ErrorCode, message: string, options: KpipeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.next = options.next;
    this.where = options.where ?? {};
  }

  get exitCode(): ExitCode {
    return exitCodes[this.code];
  }
}

/** The text of anything thrown, for use inside another message. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((inner) => messageOf(inner)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a driver's or of Node's error (`ECONNREFUSED`, a SQLSTATE, …), where it has one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) {
    return undefined;
  }
  return typeof error.code === 'string' ? error.code : undefined;
}
