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
export interface Intent {
  /** `projects/…/datasets/…/tables/…/streams/…`: finalized, not committed yet. */
  readonly stream: string;
  /** The position that the batch was read from: the offset that this metadata is committed with. */
  readonly from: bigint;
  /** The position after it. */
  readonly to: bigint;
  /** How many rows the stream holds. */
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

const metadata = z.strictObject({
  intent: z.strictObject({
    stream: z.string().regex(streamName),
    a: offset,
    b: offset,
    rows: z.int().min(1),
    time: span,
    ingested: span,
  }),
});

/** The commit metadata of an intent: JSON of at most `maxMetadataBytes`. */
export function formatIntent(intent: Intent): string {
  const { stream, from, to, rows, timeMicros, ingestedAtMicros } = intent;
  const ends = ({ min, max }: Span): readonly string[] => [String(min), String(max)];
  return JSON.stringify({
    intent: { stream, a: String(from), b: String(to), rows, time: ends(timeMicros), ingested: ends(ingestedAtMicros) },
  });
}

/** The intent in the metadata of a commit at `committedOffset`, or null when it holds none, or one of another position. */
export function parseIntent(text: string, committedOffset: bigint): Intent | null {
  const parsed = metadata.safeParse(parseJson(text));
  if (!parsed.success) {
    return null;
  }
  const { stream, a, b, rows, time, ingested } = parsed.data.intent;
  const isPossible = a === committedOffset && BigInt(rows) <= b - a && time[0] <= time[1] && ingested[0] <= ingested[1];
  return isPossible
    ? { stream, from: a, to: b, rows, timeMicros: spanOf(time), ingestedAtMicros: spanOf(ingested) }
    : null;
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

/** The intent to make `rows`, read from the positions [from, to), visible by committing `stream`. */
export function intentOf(stream: string, from: bigint, to: bigint, rows: readonly AnalyticsRow[]): Intent {
  return {
    stream,
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
