/** What role analytics writes of one record. Texts are UTF-8 as they came; `data` and `extensions` are JSON texts, verbatim. */
export interface AnalyticsRow {
  readonly offset: bigint;
  readonly id: Buffer;
  readonly source: Buffer;
  readonly type: Buffer;
  readonly subject: Buffer | null;
  /** Microseconds since 1970, UTC. */
  readonly timeMicros: bigint;
  readonly data: Buffer | null;
  readonly extensions: Buffer | null;
  /** When kpipe read the record. */
  readonly ingestedAtMs: number;
}
