import type { Running } from './run-kpipe.ts';

/** What `kpipe consume --json` prints when it ends; offsets are text. */
export interface PrintedResult {
  readonly partitions: readonly {
    readonly partition: number;
    readonly firstOffset: string;
    readonly nextOffset: string;
    readonly records: number;
  }[];
  readonly totals: Readonly<Record<'records' | 'stored' | 'duplicates' | 'deadLetters' | 'skipped', number>>;
}

/** Waits for the end of `kpipe consume … --json`, which must be a good one. */
export async function resultOf(consumer: Running): Promise<PrintedResult> {
  const { code, signal, stdout, stderr } = await consumer.ended;
  if (code !== 0) {
    throw new Error(`kpipe consume ended with exit ${code}, signal ${signal}: ${stderr}`);
  }
  return JSON.parse(stdout) as PrintedResult;
}

export function sumOf(
  { partitions }: PrintedResult,
  of: (partition: PrintedResult['partitions'][number]) => bigint,
): bigint {
  return partitions.reduce((sum, partition) => sum + of(partition), 0n);
}
