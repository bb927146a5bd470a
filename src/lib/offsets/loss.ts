import type { TopicRetention } from './observation.ts';

/** Why some records never expire: a fact, not a gap in what is known. */
export const neverExpires = {
  unlimited: 'the retention is unlimited',
  compacted: 'the topic is compacted: records do not expire',
} as const;

/** How long until unread records expire, or why that has no answer. */
export type LossIn = { readonly ms: number } | { readonly ms: null; readonly reason: string };

/**
 * Retention against the oldest unread record. Kafka expires whole segments, by their youngest record, so this is the
 * earliest instant, never too late.
 *
 * @param oldestUnreadMs when that record was written; null: not known; 'none': everything is read, so the clock has
 *   not started and a whole retention is left
 */
export function lossIn(
  oldestUnreadMs: number | 'none' | null,
  retention: TopicRetention | undefined,
  nowMs: number,
): LossIn {
  if (retention === undefined || retention.retentionMs === null || retention.retentionBytes === null) {
    return { ms: null, reason: 'the retention is not known' };
  }
  if (!retention.expires) {
    return { ms: null, reason: neverExpires.compacted };
  }
  if (retention.retentionBytes >= 0) {
    return { ms: null, reason: 'the topic is limited by size (retention.bytes): not measured' };
  }
  if (retention.retentionMs < 0) {
    return { ms: null, reason: neverExpires.unlimited };
  }
  if (oldestUnreadMs === 'none') {
    return { ms: retention.retentionMs };
  }
  return oldestUnreadMs === null
    ? { ms: null, reason: 'the age of the oldest unread record is not known' }
    : { ms: Math.max(0, oldestUnreadMs + retention.retentionMs - nowMs) };
}
