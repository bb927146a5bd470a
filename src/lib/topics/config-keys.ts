import { nearestName } from '../config/nearest.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../config/units.ts';

/** Kafka's topic keys (TopicConfig.java, 4.3), for the nearest valid name only: what is valid, the cluster decides. */
const topicConfigKeys = [
  'cleanup.policy',
  'compression.gzip.level',
  'compression.lz4.level',
  'compression.type',
  'compression.zstd.level',
  'delete.retention.ms',
  'file.delete.delay.ms',
  'flush.messages',
  'flush.ms',
  'follower.replication.throttled.replicas',
  'index.interval.bytes',
  'leader.replication.throttled.replicas',
  'local.retention.bytes',
  'local.retention.ms',
  'max.compaction.lag.ms',
  'max.message.bytes',
  'message.timestamp.after.max.ms',
  'message.timestamp.before.max.ms',
  'message.timestamp.type',
  'min.cleanable.dirty.ratio',
  'min.compaction.lag.ms',
  'min.insync.replicas',
  'preallocate',
  'remote.copy.disable',
  'remote.log.delete.on.disable',
  'remote.storage.enable',
  'retention.bytes',
  'retention.ms',
  'segment.bytes',
  'segment.index.bytes',
  'segment.jitter.ms',
  'segment.ms',
  'unclean.leader.election.enable',
];

export function nearestConfigKey(key: string): string | undefined {
  return nearestName(key, topicConfigKeys);
}

/** Whether two texts are the same value to Kafka, which stores `0.50` as `0.5` and `compact, delete` without the space. */
export function sameConfigValue(left: string, right: string): boolean {
  return normalForm(left) === normalForm(right);
}

function normalForm(value: string): string {
  const trimmed = value.trim();
  if (/^[+-]?\d+$/.test(trimmed)) {
    // Exact: a long does not fit a double.
    return BigInt(trimmed.replace(/^\+/, '')).toString();
  }
  if (/^[+-]?(?:\d+\.\d*|\.?\d+)(?:e[+-]?\d+)?$/i.test(trimmed)) {
    return String(Number(trimmed));
  }
  if (/^(?:true|false)$/i.test(trimmed)) {
    return trimmed.toLowerCase();
  }
  return trimmed
    .split(',')
    .map((part) => part.trim())
    .join(',');
}

/** `7d` for 604800000 of `retention.ms`, `1 GB` for bytes, `unlimited` for -1 of either. */
export function formatConfigValue(key: string, value: string): string {
  const unit = /\.(ms|bytes)$/.exec(key)?.[1];
  if (unit === undefined || !/^-?\d{1,15}$/.test(value)) {
    return value;
  }
  const number = Number(value);
  if (number < 0) {
    return number === -1 ? 'unlimited' : value;
  }
  // Rounded, two values that differ could look the same.
  const [text, back] = unit === 'ms' ? [formatDuration(number), parseDuration] : [formatSize(number), parseSize];
  return back(text) === number ? text : `${value} ${unit === 'ms' ? 'ms' : 'B'}`;
}
