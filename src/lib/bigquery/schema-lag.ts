import { KpipeError } from '../errors.ts';

/** BigQuery speaks of minutes: https://cloud.google.com/bigquery/docs/write-api#update_table_schema */
const graceMs = 10 * 60_000;

/**
 * How long a writer has been refused for columns that the table has. For a while that passes by itself: the batch is
 * written again, with all its columns, so that no row lacks a value for its sake.
 */
export class SchemaLag {
  #sinceMs: number | null = null;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** It lasts longer than a column takes to be known everywhere. */
  get isOver(): boolean {
    return this.#sinceMs !== null && this.#nowMs() - this.#sinceMs > graceMs;
  }

  /** Rows were taken. */
  passed(): void {
    this.#sinceMs = null;
  }

  /** Rows were refused. @returns what the role is told */
  noted(): KpipeError {
    this.#sinceMs ??= this.#nowMs();
    return new KpipeError('KPIPE_BIGQUERY_UNREACHABLE', 'BigQuery does not know the declared columns here yet', {
      next: 'a new column takes minutes to be known everywhere, and kpipe waits for it; `kpipe warehouse plan` tells if the table lacks one',
    });
  }
}
