import type { RoleName } from '../../config/schema.ts';
import { calculateThroughput, type ThroughputLook, type ThroughputReport } from '../../offsets/throughput.ts';
import type { BatchSample } from './batches.ts';
import type { LogHistory } from './log-history.ts';

/** What the edge brings of a topic, besides the looks. */
export interface TopicFacts {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** -1: unlimited. */
  readonly retentionMs: number | null;
  readonly retentionBytes: number | null;
  readonly minInsyncReplicas: number | null;
  readonly compacted: boolean;
  /** Of all replicas together. */
  readonly diskBytes: number | null;
  readonly history: LogHistory | null;
  readonly batches: BatchSample | null;
  readonly readers: readonly Pick<ReaderMeasure, 'role' | 'group' | 'members'>[];
}

/** What was measured of a topic. Rates are a second; not known is null. Pure: looks in, figures out. */
export interface TopicMeasure extends TopicFacts {
  readonly watchedMs: number;
  readonly looks: number;
  /** Over the whole watch. */
  readonly recordsPerSec: number | null;
  readonly bytesPerSec: number | null;
  /** The most over a few seconds of it. */
  readonly peakRecordsPerSec: number | null;
  readonly peakBytesPerSec: number | null;
  /** The most that one partition took over a few seconds: it can carry at least that. */
  readonly busiestPartitionBytesPerSec: number | null;
  readonly readers: readonly ReaderMeasure[];
}

/** A role that reads the topic. */
export interface ReaderMeasure {
  readonly role: RoleName;
  readonly group: string;
  /** That hold partitions of the topic or wait for some; null: not known, or they came and went. */
  readonly members: number | null;
  readonly recordsPerSec: number | null;
  /** The least that waited for it at any look; null: not known. */
  readonly leastLagRecords: number | null;
  /** It had more to read than it could all the time: its rate is what it can do. */
  readonly saturated: boolean;
}

/** A peak is told over no less than this: consumers and brokers ride out what is shorter. */
export const peakWindowMs = 5000;
/** What waits is taken for a backlog when it is more than the reader takes in so long. */
const backlogSeconds = 2;

export function measureTopic(facts: TopicFacts, looks: readonly ThroughputLook[]): TopicMeasure {
  const { topic } = facts;
  const ofTopic = looks.map((look) => ({
    atMs: look.atMs,
    partitions: look.partitions.filter((partition) => partition.topic === topic),
    groups: look.groups.filter((group) => group.topic === topic),
  }));
  const [first, last] = [ofTopic[0], ofTopic.at(-1)];
  const whole = first === undefined || last === undefined ? null : calculateThroughput('', first, last);
  const windows = windowsOf(ofTopic);
  const perRecord = bytesPerRecord(facts.batches);
  return {
    ...facts,
    watchedMs: whole?.overMs ?? 0,
    looks: looks.length,
    ...ratesOf(whole, perRecord),
    peakRecordsPerSec: greatest(windows.map((window) => ratesOf(window, perRecord).recordsPerSec)),
    peakBytesPerSec: greatest(windows.map((window) => ratesOf(window, perRecord).bytesPerSec)),
    busiestPartitionBytesPerSec: greatest(
      windows.flatMap((window) =>
        window.topics.flatMap(({ partitions }) => partitions.map(({ bytesPerSec }) => bytesPerSec)),
      ),
    ),
    readers: facts.readers.map((reader) => measureReader(reader, ofTopic, whole)),
  };
}

/** Rates over every stretch of `peakWindowMs`, and over the whole: what is true of that is true of some part of it. */
function windowsOf(looks: readonly ThroughputLook[]): readonly ThroughputReport[] {
  const [first, last] = [looks[0], looks.at(-1)];
  if (first === undefined || last === undefined || looks.length < 2) {
    return [];
  }
  const windows = looks.flatMap((from) => {
    const to = looks.find(({ atMs }) => atMs - from.atMs >= peakWindowMs);
    return to === undefined ? [] : [calculateThroughput('', from, to)];
  });
  return [...windows, calculateThroughput('', first, last)];
}

/** Where a log shrank or its leader moved meanwhile, sizes tell no growth: then records by their mean size do. */
function ratesOf(
  report: ThroughputReport | null,
  perRecord: number | null,
): Pick<TopicMeasure, 'recordsPerSec' | 'bytesPerSec'> {
  const topic = report?.topics[0];
  if (topic === undefined) {
    return { recordsPerSec: null, bytesPerSec: null };
  }
  const isWhole = topic.partitions.every(({ bytesPerSec }) => bytesPerSec !== null);
  const byRecords = topic.recordsPerSec === null || perRecord === null ? null : topic.recordsPerSec * perRecord;
  return { recordsPerSec: topic.recordsPerSec, bytesPerSec: isWhole ? topic.bytesPerSec : byRecords };
}

function measureReader(
  reader: TopicFacts['readers'][number],
  looks: readonly ThroughputLook[],
  whole: ThroughputReport | null,
): ReaderMeasure {
  const recordsPerSec = whole?.groups.find(({ group }) => group === reader.group)?.recordsPerSec ?? null;
  const lags = looks.map((look) => lagOf(look, reader.group));
  const leastLagRecords = lags.length === 0 || lags.includes(null) ? null : Math.min(...lags.map((lag) => lag ?? 0));
  const saturated =
    recordsPerSec !== null &&
    recordsPerSec > 0 &&
    leastLagRecords !== null &&
    leastLagRecords >= recordsPerSec * backlogSeconds;
  return { ...reader, recordsPerSec, leastLagRecords, saturated };
}

/** null where the group has no position in the topic. */
function lagOf(look: ThroughputLook, group: string): number | null {
  const ends = new Map(look.partitions.map(({ partition, highWatermark }) => [partition, highWatermark]));
  const known = look.groups.flatMap((each) => {
    const end = ends.get(each.partition) ?? null;
    return each.group !== group || each.position === null || end === null ? [] : [Number(end - each.position)];
  });
  return known.length === 0 ? null : known.reduce((sum, lag) => sum + Math.max(0, lag), 0);
}

/** As stored, the batches' headers included. */
export function bytesPerRecord(batches: BatchSample | null): number | null {
  return batches === null || batches.records <= 0 ? null : batches.bytes / batches.records;
}

function greatest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
