import { countByOffset } from '../bigquery/warehouse.ts';
import type { Config } from '../config/load.ts';
import type { BigQueryConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import type { ClusterAdmin } from '../ports.ts';
import { createEventDecoder, type EventRow } from '../records/event.ts';
import { required } from '../roles/environment.ts';
import { countOffsets, rangesOf, withoutRanges, type OffsetRange } from './offset-ranges.ts';
import { requireTopics, topicReader } from './topic-edges.ts';
import { verify, type VerifiedStretch, type VerifyOptions, type VerifyResult } from './verify.ts';

/** Of one query; BigQuery answers each offset. */
const offsetsAtOnce = 100_000n;

/** Rows of one partition, by offset. */
interface PartitionRows {
  readonly partition: number;
  readonly range: OffsetRange;
  readonly present: readonly OffsetRange[];
  readonly repeated: readonly bigint[];
  readonly repeatedRows: number;
}

/**
 * The same proof for a role that keeps no counters: every record from where the log begins to the group's commit must have
 * one row in BigQuery, or a dead letter. @throws KPIPE_USAGE for --deep
 */
export async function verifyAnalytics(config: Config, options: VerifyOptions): Promise<VerifyResult> {
  if (options.deep) {
    throw new KpipeError('KPIPE_USAGE', 'what BigQuery holds is not compared record by record', {
      next: '`kpipe verify analytics` without --deep accounts for every offset',
    });
  }
  const settings = required(config.roles.analytics, 'roles.analytics', 'analytics');
  const warehouse = required(config.bigquery, 'bigquery', 'analytics');
  const { topic, deadLetters: deadLetterTopic, group } = settings;
  const admin = await openKafkaAdmin(config.kafka);
  try {
    await requireTopics(admin, [topic, deadLetterTopic]);
    // The commits before the rows: a batch that becomes visible meanwhile lies behind them.
    const ranges = await committedRanges(admin, topic, group);
    const found = await Promise.all(ranges.map((range) => rowsOf(warehouse, topic, range)));
    const holesOf = (partition: number, range: OffsetRange): readonly OffsetRange[] =>
      withoutRanges([range], found.find((rows) => rows.partition === partition)?.present ?? []);
    const result = await verify<EventRow>(
      {
        role: 'analytics',
        topic,
        deadLetterTopic,
        admin,
        counts: { stretches: found.map(stretchOf), beyond: [], oldestDayMs: null },
        alwaysCompare: true,
        decode: createEventDecoder(settings),
        offsetOf: ({ offset }) => offset,
        holes: (partition, range) => Promise.resolve(holesOf(partition, range)),
        // A repeated id is another row here: the role appends whatever comes.
        repeats: () => Promise.resolve(new Set()),
        isExpired: ({ time }) => warehouse.expiry !== undefined && time.ms < options.now() - warehouse.expiry,
        changed: () => Promise.resolve([]),
        repeatedAt: (partition) => Promise.resolve(found.find((rows) => rows.partition === partition)?.repeated ?? []),
        readTopic: topicReader(config.kafka, admin, options.signal),
      },
      options,
    );
    return { ...result, stretches: result.stretches.map((stretch) => counted(stretch, result)) };
  } finally {
    await admin.close();
  }
}

async function committedRanges(
  admin: ClusterAdmin,
  topic: string,
  group: string,
): Promise<readonly { readonly partition: number; readonly range: OffsetRange }[]> {
  const commits = (await admin.committedOffsets(group)).filter((commit) => commit.topic === topic);
  const starts = await admin.listOffsets(commits, 'earliest');
  const startOf = new Map(starts.map(({ partition, offset }) => [partition, offset ?? 0n]));
  return commits
    .map(({ partition, offset: to }) => ({ partition, from: startOf.get(partition) ?? 0n, to }))
    .filter(({ from, to }) => from < to)
    .toSorted((left, right) => left.partition - right.partition)
    .map(({ partition, from, to }) => ({ partition, range: { from, to } }));
}

async function rowsOf(
  config: BigQueryConfig,
  topic: string,
  { partition, range }: { readonly partition: number; readonly range: OffsetRange },
): Promise<PartitionRows> {
  const offsets: bigint[] = [];
  const repeated: bigint[] = [];
  let repeatedRows = 0;
  for (let { from } = range; from < range.to; from += offsetsAtOnce) {
    const to = from + offsetsAtOnce < range.to ? from + offsetsAtOnce : range.to;
    for (const { offset, rows } of await countByOffset(config, { topic, partition, offsets: { from, to } })) {
      offsets.push(offset);
      if (rows > 1) {
        repeated.push(offset);
        repeatedRows += rows - 1;
      }
    }
  }
  return { partition, range, present: rangesOf(offsets), repeated, repeatedRows };
}

/** As if the role had counted what is there; what is not there is a gap until Kafka says that it is a record. */
function stretchOf({ partition, range, present, repeatedRows }: PartitionRows) {
  const rows = countOffsets(present);
  return {
    rows,
    repeatedRows,
    stretch: {
      partition,
      firstOffset: range.from,
      nextOffset: range.to,
      stored: rows,
      duplicates: 0,
      rereads: 0,
      deadLetters: 0,
      skipped: 0,
      gaps: countOffsets([range]) - rows,
      endedBy: null,
    },
  };
}

function counted(stretch: VerifiedStretch, { findings }: VerifyResult): VerifiedStretch {
  const withoutEffect = findings
    .filter(({ partition, kind }) => partition === stretch.partition && kind === 'no-effect')
    .reduce((sum, { records }) => sum + records, 0);
  const { buried, expired } = stretch;
  return { ...stretch, deadLetters: buried, gaps: Math.max(0, stretch.gaps - buried - expired - withoutEffect) };
}
