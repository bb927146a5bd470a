import type { ClusterAdmin, SourceRecord, TopicPartition } from '../ports.ts';
import type { RowCounts } from '../postgres/verify-counts.ts';
import { findingsOf, isBalanced, type Comparison, type Finding, type JudgeOptions, type Stretch } from './account.ts';
import { compareStretch, type RowQuestions } from './compare.ts';
import { BuriedRecords } from './dead-letters.ts';
import { rangesOf, rangeText, type OffsetRange } from './offset-ranges.ts';

/** A stretch of offsets of one partition, and what was found of it. */
export interface VerifiedStretch extends Stretch {
  /** Records that have a row. */
  readonly rows: number;
  /** Records that are in the dead letter topic. */
  readonly buried: number;
  /** Records whose rows were dropped with their day. */
  readonly expired: number;
  /** Rows that were held against their record. */
  readonly compared: number;
  readonly balanced: boolean;
}

/** The JSON contract of `kpipe verify`. */
export interface VerifyResult {
  readonly role: string;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly deep: boolean;
  readonly balanced: boolean;
  readonly stretches: readonly VerifiedStretch[];
  readonly findings: readonly Finding[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

export interface VerifyOptions {
  /** Every row is held against its record, as long as Kafka has it. */
  readonly deep: boolean;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly onProgress: (records: number, note: string) => void;
}

export interface VerifyEdges<Row> extends RowQuestions<Row> {
  readonly role: string;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly admin: ClusterAdmin;
  readonly counts: RowCounts;
  /** There are no counters to hold the rows against: every offset without a row is looked up. */
  readonly alwaysCompare?: boolean;
  readonly repeatedAt: (partition: number, range: OffsetRange) => Promise<readonly bigint[]>;
  /** Reads ranges of a topic, one a partition, to their ends. */
  readonly readTopic: (
    topic: string,
    ranges: readonly { readonly partition: number; readonly from: bigint; readonly to: bigint }[],
    onRecords: (records: readonly SourceRecord[], at: TopicPartition) => Promise<void>,
  ) => Promise<void>;
}

/**
 * Counts, and where the counts do not balance (or for all, when it goes deep) compares with what Kafka still has. The
 * counters and rows are of one instant; dead letters are read after it, since they are written before a position moves.
 */
export async function verify<Row>(edges: VerifyEdges<Row>, options: VerifyOptions): Promise<VerifyResult> {
  const beganMs = options.now();
  const { buried, deleted } = await readDeadLetters(edges, options);
  const judging = { lettersDeleted: deleted, rowsExpire: edges.counts.oldestDayMs !== null };
  const stretches: VerifiedStretch[] = [];
  const findings: Finding[] = [];
  for (const counted of edges.counts.stretches) {
    options.signal.throwIfAborted();
    const { stretch, rows } = counted;
    const { partition, firstOffset, nextOffset } = stretch;
    const counts = { ...counted, buried: buried.countIn(partition, { from: firstOffset, to: nextOffset }) };
    const suspicious = edges.alwaysCompare === true || !isBalanced(counts, judging);
    const comparison = suspicious || options.deep ? await compare(edges, stretch, buried, options) : null;
    const repeatedAt =
      counted.repeatedRows === 0
        ? []
        : rangesOf(await edges.repeatedAt(partition, { from: firstOffset, to: nextOffset }));
    const found = findingsOf(counts, comparison, repeatedAt, judging);
    findings.push(...found);
    stretches.push({
      ...stretch,
      rows,
      buried: counts.buried,
      expired: expiredOf(comparison, judging),
      compared: comparison?.compared ?? 0,
      balanced: found.length === 0,
    });
  }
  findings.push(...beyondFindings(edges.counts));
  const { role, topic, deadLetterTopic } = edges;
  return {
    role,
    topic,
    deadLetterTopic,
    deep: options.deep,
    balanced: findings.length === 0,
    stretches,
    findings,
    notes: notesOf(edges, stretches, deleted),
    seconds: (options.now() - beganMs) / 1000,
  };
}

function expiredOf(comparison: Comparison | null, { rowsExpire }: JudgeOptions): number {
  const unread = comparison?.unread.reduce((sum, { from, to }) => sum + Number(to - from), 0) ?? 0;
  return (comparison?.expired ?? 0) + (rowsExpire ? unread : 0);
}

async function readDeadLetters<Row>(
  { admin, role, topic, deadLetterTopic, readTopic }: VerifyEdges<Row>,
  { onProgress }: VerifyOptions,
): Promise<{ readonly buried: BuriedRecords; readonly deleted: number }> {
  const ends = await logRanges(admin, deadLetterTopic);
  const buried = new BuriedRecords(role, topic);
  let read = 0;
  await readTopic(deadLetterTopic, ends, (records, at) => {
    records.forEach((record) => buried.take(at, record));
    read += records.length;
    onProgress(read, 'dead letters');
    return Promise.resolve();
  });
  return { buried, deleted: ends.reduce((sum, { from }) => sum + Number(from), 0) };
}

async function logRanges(
  admin: ClusterAdmin,
  topic: string,
): Promise<readonly { readonly partition: number; readonly from: bigint; readonly to: bigint }[]> {
  const [description] = await admin.describeTopics([topic]);
  const partitions = (description?.partitions ?? []).map(({ partition }) => ({ topic, partition }));
  const [starts, ends] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
  ]);
  const startOf = new Map(starts.map(({ partition, offset }) => [partition, offset ?? 0n]));
  return ends.map(({ partition, offset }) => ({
    partition,
    from: startOf.get(partition) ?? 0n,
    to: offset ?? startOf.get(partition) ?? 0n,
  }));
}

async function compare<Row>(
  edges: VerifyEdges<Row>,
  stretch: Stretch,
  buried: BuriedRecords,
  { deep, onProgress }: VerifyOptions,
): Promise<Comparison> {
  const { topic, admin, readTopic } = edges;
  const log = (await logRanges(admin, topic)).find(({ partition }) => partition === stretch.partition);
  let read = 0;
  const questions = {
    ...edges,
    read: (partition: number, range: OffsetRange, onRecords: (records: readonly SourceRecord[]) => Promise<void>) => {
      // A position that was moved on may lie beyond the log's end.
      const to = log !== undefined && log.to < range.to ? log.to : range.to;
      return readTopic(topic, [{ partition, from: range.from, to }], async (records) => {
        await onRecords(records);
        read += records.length;
        onProgress(read, `records of ${topic}-${partition}`);
      });
    },
  };
  return compareStretch(questions, stretch, buried.rangesOf(stretch.partition), log?.from ?? stretch.nextOffset, deep);
}

function beyondFindings({ beyond }: RowCounts): readonly Finding[] {
  return beyond.map(({ partition, records, range }) => ({
    kind: 'rows-beyond-position',
    partition,
    records,
    offsets: [rangeText(range)],
    text: 'rows at offsets that the role has not come to',
  }));
}

function notesOf<Row>(
  { deadLetterTopic, counts, topic }: VerifyEdges<Row>,
  stretches: readonly VerifiedStretch[],
  deleted: number,
): readonly string[] {
  const short = stretches.reduce((sum, { deadLetters, buried }) => sum + Math.max(0, deadLetters - buried), 0);
  const expired = stretches.reduce((sum, stretch) => sum + stretch.expired, 0);
  return [
    ...(counts.stretches.length === 0 ? [`the role has written nothing of ${topic}, as it is now`] : []),
    ...(deleted > 0 && short > 0
      ? [`${deleted} records of ${deadLetterTopic} were deleted; ${short} dead letters may be among them`]
      : []),
    ...(expired > 0
      ? [`${expired} records have no row since their day was dropped, or cannot be looked up any more`]
      : []),
  ];
}
