import type { RoleName } from '../../config/schema.ts';
import { calculateThroughput, type ThroughputLook, type ThroughputReport } from '../../offsets/throughput.ts';
import { formatDuration } from '../../config/units.ts';
import type { Confidence } from './advice.ts';
import type { BatchSample } from './batches.ts';
import type { LogHistory } from './log-history.ts';

/** What was measured of a topic. Rates are a second; not known is null. Pure: looks in, figures out. */
export interface TopicMeasure {
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
  readonly history: LogHistory | null;
  readonly batches: BatchSample | null;
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

/** What the edge brings of a topic, besides the looks. */
export interface TopicFacts {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly retentionMs: number | null;
  readonly retentionBytes: number | null;
  readonly minInsyncReplicas: number | null;
  readonly compacted: boolean;
  readonly diskBytes: number | null;
  readonly history: LogHistory | null;
  readonly batches: BatchSample | null;
  readonly readers: readonly Pick<ReaderMeasure, 'role' | 'group' | 'members'>[];
}

/** A peak is told over no less than this: consumers and brokers ride out what is shorter. */
const peakWindowMs = 5000;
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

/** Rates over every stretch of at least `peakWindowMs`; over the whole where it is shorter. */
function windowsOf(looks: readonly ThroughputLook[]): readonly ThroughputReport[] {
  const last = looks.at(-1);
  if (last === undefined || looks.length < 2) {
    return [];
  }
  const windows = looks.flatMap((from) => {
    const to = looks.find(({ atMs }) => atMs - from.atMs >= peakWindowMs);
    return to === undefined ? [] : [calculateThroughput('', from, to)];
  });
  return windows.length > 0 ? windows : looks.slice(0, 1).map((from) => calculateThroughput('', from, last));
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

export interface Peak {
  readonly recordsPerSec: number;
  /** null: no batch was seen, so that a record's size is not known. */
  readonly bytesPerSec: number | null;
  readonly how: string;
}

/** The most that came in, now or in an hour that the log still tells of; null: nothing did. */
export function peakOf(measure: TopicMeasure): Peak | null {
  const { peakRecordsPerSec, peakBytesPerSec, history, watchedMs } = measure;
  const perRecord = bytesPerRecord(measure.batches);
  const now = peakRecordsPerSec ?? 0;
  const before = history?.peakRecordsPerSec ?? 0;
  if (Math.max(now, before) <= 0) {
    return null;
  }
  return now >= before
    ? {
        recordsPerSec: now,
        bytesPerSec: peakBytesPerSec,
        how: `the busiest ${formatDuration(Math.min(peakWindowMs, watchedMs))} of ${formatDuration(watchedMs)} watched`,
      }
    : {
        recordsPerSec: before,
        bytesPerSec: perRecord === null ? null : before * perRecord,
        how: `the busiest ${formatDuration(history?.stepMs ?? 0)} of the last ${formatDuration(history?.spanMs ?? 0)}, by offsets at times`,
      };
}

const shortMs = 10_000;
const goodSpanMs = 12 * 3_600_000;

/** How far rates can be trusted. */
export function confidenceOf(measure: TopicMeasure): {
  readonly confidence: Confidence;
  readonly confidenceReason: string | null;
} {
  const { watchedMs, history } = measure;
  if (peakOf(measure) === null) {
    const span = history === null ? '' : `, nor in the last ${formatDuration(history.spanMs)}`;
    return { confidence: 'none', confidenceReason: `nothing came in during ${formatDuration(watchedMs)}${span}` };
  }
  if (history !== null && history.spanMs >= goodSpanMs) {
    return { confidence: 'good', confidenceReason: null };
  }
  const reason =
    watchedMs < shortMs
      ? `${formatDuration(watchedMs)} are too short a look`
      : `${formatDuration(watchedMs)} say nothing of the busiest hour, and the log tells of less than 12h`;
  return { confidence: 'low', confidenceReason: reason };
}

function greatest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
