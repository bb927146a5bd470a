import { formatDuration } from '../config/units.ts';
import type { PartitionHistory } from './history.ts';
import type { LagFigures, PartitionLag } from './lag-report.ts';
import { lossIn } from './loss.ts';
import type { GroupObservation, LagObservation, PartitionObservation } from './observation.ts';
import { isTrivial, judgePartition, type Judgement, type Lag, type Verdict } from './status.ts';
import { timeOfOffset } from './time-lag.ts';

/** Lag in records and time of one partition; null where it is not known. */
export function partitionLagNow(
  partition: PartitionObservation,
  ends: PartitionHistory['ends'],
  nowMs: number,
): Lag | null {
  const records = lagRecordsOf(partition);
  return records.value === null
    ? null
    : { lagRecords: records.value, timeLagMs: timeLagOf(partition, records.value, ends, nowMs).value };
}

type Known<T> = { readonly value: T; readonly reason: null } | { readonly value: null; readonly reason: string };
const known = <T>(value: T): Known<T> => ({ value, reason: null });
const notKnown = (reason: string): { readonly value: null; readonly reason: string } => ({ value: null, reason });

function lagRecordsOf(partition: PartitionObservation): Known<number> {
  const { position, highWatermark, logStartOffset, logProblem, firstUnread } = partition;
  if (highWatermark === null || logStartOffset === null) {
    return notKnown(logProblem ?? 'the log cannot be read');
  }
  if (position === null) {
    // Nothing was ever read, but nothing is there to be read either.
    return highWatermark === logStartOffset && partition.positionProblem === null
      ? known(0)
      : notKnown(partition.positionProblem ?? 'never started: no position yet');
  }
  if (position > highWatermark) {
    return notKnown(`the position ${position} is beyond the log's end ${highWatermark}: was the topic recreated?`);
  }
  if (firstUnread?.kind === 'nothing') {
    return known(0);
  }
  const from = position > logStartOffset ? position : logStartOffset;
  // The log's start and end are read one after the other: meanwhile the rest may have expired.
  return known(Math.max(0, Number(highWatermark - from)));
}

type TimeLag = Known<number> & { readonly method: LagFigures['timeLagMethod'] };

function timeLagOf(
  partition: PartitionObservation,
  lagRecords: number | null,
  ends: PartitionHistory['ends'],
  nowMs: number,
): TimeLag {
  if (lagRecords === null) {
    return { ...notKnown('the lag is not known'), method: null };
  }
  if (lagRecords === 0) {
    return { ...known(0), method: 'record' };
  }
  const { firstUnread, position } = partition;
  if (firstUnread?.kind === 'record' && firstUnread.timestampMs >= 0) {
    const method = firstUnread.exact ? 'record' : 'estimate';
    return { ...known(Math.max(0, Math.round(nowMs - firstUnread.timestampMs))), method };
  }
  const at = position === null ? null : timeOfOffset(ends, position);
  return at === null
    ? { ...notKnown(whyUnread(partition)), method: null }
    : { ...known(Math.max(0, Math.round(nowMs - at))), method: 'estimate' };
}

function whyUnread({ firstUnread }: PartitionObservation): string {
  switch (firstUnread?.kind) {
    case 'record':
      return 'the record carries no timestamp';
    case 'held':
      return `an open transaction holds records back from offset ${firstUnread.lastStableOffset}`;
    case 'unknown':
      return firstUnread.reason;
    default:
      return 'the record at the position was not read';
  }
}

/** One partition of a group: figures, each null with a reason where it is not known, and the verdict. */
export function partitionLag(
  group: GroupObservation,
  partition: PartitionObservation,
  seen: LagObservation,
  history: PartitionHistory,
  judgement: Judgement,
): PartitionLag {
  const nowMs = seen.observedAtMs;
  const records = lagRecordsOf(partition);
  const time = timeLagOf(partition, records.value, history.ends, nowMs);
  const rates = ratesOf(history);
  const loss = lossIn(oldestUnread(partition, records.value), seen.topics.get(partition.topic), nowMs);
  const lost = lostRecordsOf(partition);
  const verdict = judge(group, records, time, history, nowMs, judgement);
  return {
    topic: partition.topic,
    partition: partition.partition,
    committedOffset: partition.committedOffset,
    position: partition.position,
    highWatermark: partition.highWatermark,
    logStartOffset: partition.logStartOffset,
    lagRecords: records.value,
    timeLagMs: time.value,
    timeLagMethod: time.method,
    inPerSec: rates.inPerSec.value,
    outPerSec: rates.outPerSec.value,
    lossInMs: loss.ms,
    lostRecords: lost,
    member: partition.member,
    status: verdict.status,
    reason: withLoss(explain(verdict), lost),
    unknown: reasons({
      lagRecords: records.reason,
      timeLagMs: time.reason,
      inPerSec: rates.inPerSec.reason,
      outPerSec: rates.outPerSec.reason,
      lossInMs: loss.ms === null ? loss.reason : null,
    }),
  };
}

function judge(
  group: GroupObservation,
  records: Known<number>,
  time: Known<number>,
  history: PartitionHistory,
  atMs: number,
  judgement: Judgement,
): Verdict {
  if (records.value === null) {
    return { status: 'unknown', reason: records.reason, silenceMs: null };
  }
  const lag: Lag = { lagRecords: records.value, timeLagMs: time.value };
  // Kafka does not tell when a commit was made, but an empty group makes none: the unread record's age is the proof.
  const waited = time.value !== null && time.value > judgement.minSilenceMs;
  if (group.positionSource === 'group' && group.state === 'Empty' && waited && !isTrivial(lag, judgement)) {
    return { status: 'stop', reason: 'no member reads it, unread', silenceMs: time.value };
  }
  const recentHighWatermarks = history.samples.map((sample) => sample.highWatermark);
  return judgePartition(history.commits, { ...lag, atMs, recentHighWatermarks }, judgement);
}

function explain({ reason, silenceMs }: Verdict): string | null {
  return reason === null || silenceMs === null ? reason : `${reason} for ${formatDuration(silenceMs)}`;
}

function withLoss(reason: string | null, lost: number): string | null {
  const loss = lost === 0 ? null : `${lost} records expired before they were read`;
  return reason === null || loss === null ? (reason ?? loss) : `${reason}; ${loss}`;
}

function lostRecordsOf({ position, logStartOffset }: PartitionObservation): number {
  return position !== null && logStartOffset !== null && position < logStartOffset
    ? Number(logStartOffset - position)
    : 0;
}

function oldestUnread({ firstUnread }: PartitionObservation, lagRecords: number | null): number | 'none' | null {
  if (lagRecords === 0) {
    return 'none';
  }
  return firstUnread?.kind === 'record' && firstUnread.timestampMs >= 0 ? firstUnread.timestampMs : null;
}

interface Rates {
  readonly inPerSec: Known<number>;
  readonly outPerSec: Known<number>;
}

/** Over the looks that are kept: from the oldest to the newest. */
function ratesOf({ samples }: PartitionHistory): Rates {
  const last = samples.at(-1);
  const first = samples[0];
  if (first === undefined || last === undefined || last.atMs <= first.atMs) {
    const reason = notKnown('seen only once');
    return { inPerSec: reason, outPerSec: reason };
  }
  const seconds = (last.atMs - first.atMs) / 1000;
  return {
    inPerSec: rate(first.highWatermark, last.highWatermark, seconds, "the log's end went back"),
    outPerSec: rate(first.position, last.position, seconds, 'the position went back'),
  };
}

function rate(from: bigint | null, to: bigint | null, seconds: number, backwards: string): Known<number> {
  if (from === null || to === null) {
    return notKnown('the position was not known');
  }
  return to < from ? notKnown(backwards) : known(Math.round((Number(to - from) / seconds) * 10) / 10);
}

/** Only the figures that are not known. */
function reasons(all: Readonly<Record<string, string | null>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null));
}
