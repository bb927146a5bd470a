/** What producers sent: record batches of a topic, by their headers. */
export interface BatchSample {
  readonly batches: number;
  readonly records: number;
  /** As stored, headers included. */
  readonly bytes: number;
  readonly largestBytes: number;
  /** Header and records, of the batches that could be unpacked; null: none could. */
  readonly unpackedBytesPerBatch: number | null;
  /** How many batches each codec packed; `none` is not packed. */
  readonly codecs: Readonly<Record<string, number>>;
  /** That gave themselves an id (idempotent ones); null: some did not. */
  readonly producers: number | null;
  /** That the batches are of. */
  readonly partitions: number;
  /** What a codec makes of the batches that are not packed, each by itself; null: there are none, or it is not there. */
  readonly packed: { readonly codec: string; readonly fromBytes: number; readonly toBytes: number } | null;
  /** False: they stood in the log before. */
  readonly duringWatch: boolean;
}
