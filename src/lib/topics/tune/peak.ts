import { formatDuration } from '../../config/units.ts';
import type { Confidence } from './advice.ts';
import { bytesPerRecord, peakWindowMs, type TopicMeasure } from './measure.ts';

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
