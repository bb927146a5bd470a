import { isUtf8 } from 'node:buffer';

import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { SourceRecord, TopicPartition } from '../../lib/ports.ts';
import { previewOf } from '../../lib/records/shown-bytes.ts';
import { indentJson } from '../../lib/tail/indent-json.ts';
import { timeText } from '../../lib/tail/record-format.ts';
import type { TailCounts } from '../../lib/tail/tail.ts';
import { hexLines } from '../output/hex.ts';
import { accent, bad, dim, type Line } from '../output/text.ts';

/** A value longer than this is cut on the screen; -o ndjson and --format have it whole. */
const maxValueBytes = 16_384;
const maxKeyLength = 200;
const maxHeaders = 50;

/** A record as people read it: where and when, its headers, its value. */
export function recordLines({ topic, partition }: TopicPartition, record: SourceRecord): readonly Line[] {
  const { offset, timestampMs, key, value, headers } = record;
  return [
    [
      accent(`${topic}/${partition}@${offset}`),
      dim(`  ${timeText(timestampMs)}  `),
      previewOf(key, maxKeyLength) ?? dim('no key'),
    ],
    ...headers
      .slice(0, maxHeaders)
      .map(([name, bytes]): Line => [dim(`  ${name}: `), previewOf(bytes, maxKeyLength) ?? dim('null')]),
    ...(headers.length > maxHeaders ? [dim(`  … ${headers.length - maxHeaders} more headers`)] : []),
    ...valueLines(value),
  ];
}

/** Every line is set in, so that no value can draw a record of its own. */
function valueLines(value: Buffer | null): readonly Line[] {
  if (value === null) {
    return [dim('  null (a tombstone)')];
  }
  if (!isUtf8(value)) {
    return [dim(`  ${formatSize(value.length)}, not UTF-8`), ...hexLines(value)];
  }
  const isCut = value.length > maxValueBytes;
  const text = value.toString('utf8', 0, maxValueBytes);
  const lines = (isCut ? text : laidOut(text)).split('\n').map((line): Line => `  ${line}`);
  return isCut ? [...lines, dim(`  … ${formatSize(value.length - maxValueBytes)} more`)] : lines;
}

function laidOut(text: string): string {
  if (!/^\s*[{[]/.test(text)) {
    return text;
  }
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  const indented = indentJson(text);
  // A small document is read faster on one line.
  return text.length <= 100 && !text.includes('\n') ? text : indented;
}

export function tailCountLines({ read, matched, partitions, seconds }: TailCounts): readonly Line[] {
  const lost = partitions.reduce((sum, partition) => sum + partition.lost, 0);
  const moved = partitions.filter(({ from, position }) => position > from);
  const named = moved.slice(0, 12).map(({ partition, from, position }) => `${partition}@${from}…${position - 1n}`);
  const more = moved.length > named.length ? ` and ${moved.length - named.length} more` : '';
  return [
    [
      `${formatCount(matched)} of ${formatCount(read)} records`,
      dim(
        `  in ${formatDuration(seconds * 1000)}${named.length === 0 ? '' : `  partitions ${named.join(', ')}${more}`}`,
      ),
    ],
    ...(lost > 0 ? [bad(`${formatCount(lost)} were gone from the log before they were read`)] : []),
  ];
}
