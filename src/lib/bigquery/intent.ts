import { z } from 'zod';

import type { AnalyticsRow } from './analytics-row.ts';

/**
 * The durable intent: what kpipe is about to make visible in BigQuery, kept as the metadata of the group's commit before
 * it does so. Whoever has the partition next finishes it. Metadata that other tools left there is no intent.
 *
 * A batch can be recognised in the table by these bounds: `kafka_offset` in [from, to), and the span of `ingested_at`,
 * which tells it from an earlier life of the topic or an earlier read of the same offsets. The span of `time` names the
 * table partitions to look in, so that asking stays cheap.
 */
export type Intent = StreamIntent | LoadIntent;

/** By the Storage Write API. */
export interface StreamIntent extends BatchBounds {
  /** `projects/…/datasets/…/tables/…/streams/…`: finalized, not committed yet. */
  readonly stream: string;
}

/** By a load job, which may load batches of other partitions too. */
export interface LoadIntent extends BatchBounds {
  readonly job: LoadJobName;
}

export interface LoadJobName {
  readonly id: string;
  /** Where the dataset is: an id names a job in one location. */
  readonly location: string;
  /** `projects/…/datasets/…/tables/…` */
  readonly table: string;
}

export interface BatchBounds {
  /** The position that the batch was read from: the offset that this metadata is committed with. */
  readonly from: bigint;
  /** The position after it. */
  readonly to: bigint;
  /** How many rows the batch has. */
  readonly rows: number;
  readonly timeMicros: Span;
  readonly ingestedAtMicros: Span;
}

/** Both ends belong to it. */
export interface Span {
  readonly min: bigint;
  readonly max: bigint;
}

/** What Kafka keeps of a commit's metadata, unless `offset.metadata.max.bytes` says otherwise. */
export const maxMetadataBytes = 4096;

const integer = z
  .string()
  .regex(/^-?\d{1,19}$/)
  .transform(BigInt);
const offset = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);
const span = z.tuple([integer, integer]);

const streamName = /^projects\/[^/\s]+\/datasets\/\w+\/tables\/\w+\/streams\/[\w-]+$/;

const bounds = { a: offset, b: offset, rows: z.int().min(1), time: span, ingested: span } as const;
const jobName = z.strictObject({
  id: z.string().regex(/^[\w-]{1,200}$/),
  location: z.string().regex(/^[\w-]{0,100}$/),
  table: z.string().regex(/^projects\/[^/\s]+\/datasets\/\w+\/tables\/\w+$/),
});

const metadata = z.strictObject({
  intent: z.union([
    z.strictObject({ stream: z.string().regex(streamName), ...bounds }),
    z.strictObject({ job: jobName, ...bounds }),
  ]),
});

/** The commit metadata of an intent: JSON of at most `maxMetadataBytes`. */
export function formatIntent(intent: Intent): string {
  const { from, to, rows, timeMicros, ingestedAtMicros } = intent;
  const place = 'job' in intent ? { job: intent.job } : { stream: intent.stream };
  const ends = ({ min, max }: Span): readonly string[] => [String(min), String(max)];
  return JSON.stringify({
    intent: {
      ...place,
      a: String(from),
      b: String(to),
      rows,
      time: ends(timeMicros),
      ingested: ends(ingestedAtMicros),
    },
  });
}

/** The intent in the metadata of a commit at `committedOffset`, or null when it holds none, or one of another position. */
export function parseIntent(text: string, committedOffset: bigint): Intent | null {
  const parsed = metadata.safeParse(parseJson(text));
  if (!parsed.success) {
    return null;
  }
  const { intent } = parsed.data;
  const { a, b, rows, time, ingested } = intent;
  const isPossible = a === committedOffset && BigInt(rows) <= b - a && time[0] <= time[1] && ingested[0] <= ingested[1];
  if (!isPossible) {
    return null;
  }
  const found = { from: a, to: b, rows, timeMicros: spanOf(time), ingestedAtMicros: spanOf(ingested) };
  return 'job' in intent ? { job: intent.job, ...found } : { stream: intent.stream, ...found };
}

function spanOf([min, max]: readonly [bigint, bigint]): Span {
  return { min, max };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What tells a batch in the table: `rows`, read from the positions [from, to). */
export function batchBounds(from: bigint, to: bigint, rows: readonly AnalyticsRow[]): BatchBounds {
  return {
    from,
    to,
    rows: rows.length,
    timeMicros: boundsOf(rows.map(({ timeMicros }) => timeMicros)),
    ingestedAtMicros: boundsOf(rows.map(({ ingestedAtMs }) => BigInt(ingestedAtMs) * 1000n)),
  };
}

function boundsOf(values: readonly bigint[]): Span {
  const [first = 0n] = values;
  return values.reduce<Span>(
    ({ min, max }, value) => ({ min: value < min ? value : min, max: value > max ? value : max }),
    { min: first, max: first },
  );
}

/** `projects/…/datasets/…/tables/…`: the table that a stream writes to. */
export function tableOfStream(stream: string): string {
  return stream.slice(0, stream.indexOf('/streams/'));
}

/** The table that an intent's rows go to, whatever kpipe.yaml says by now. */
export function tableOfIntent(intent: Intent): string {
  return 'job' in intent ? intent.job.table : tableOfStream(intent.stream);
}

/** `projects/…/datasets/…/tables/…` */
export function tableResource(table: {
  readonly project: string;
  readonly dataset: string;
  readonly table: string;
}): string {
  return `projects/${table.project}/datasets/${table.dataset}/tables/${table.table}`;
}
