import type { AnalyticsRow } from './analytics-row.ts';
import type { ColumnName } from './columns.ts';

/**
 * Rows as lines of newline-delimited JSON, for load jobs. JSON texts go in as they came: a line break between their tokens
 * becomes a space, and nothing is parsed, so that no number passes through a double. INT64 are numerals of any length.
 */
export type LineEncoder = (row: AnalyticsRow) => Buffer;

const key = (name: ColumnName, first = false): Buffer => Buffer.from(`${first ? '{' : ','}${JSON.stringify(name)}:`);
const keys = {
  id: key('id', true),
  source: key('source'),
  type: key('type'),
  subject: key('subject'),
  data: key('data'),
  extensions: key('extensions'),
};
const end = Buffer.from('}\n');
const space = 0x20;

/** An encoder for the rows of one partition. */
export function createLineEncoder(topic: string, partition: number): LineEncoder {
  const origin = `,"kafka_topic":${JSON.stringify(topic)},"kafka_partition":${partition}`;
  return ({ id, source, type, subject, timeMicros, offset, ingestedAtMs, data, extensions }) => {
    const times = `,"time":"${timestampText(timeMicros)}","ingested_at":"${timestampText(BigInt(ingestedAtMs) * 1000n)}"`;
    return Buffer.concat([
      keys.id,
      stringOf(id),
      keys.source,
      stringOf(source),
      keys.type,
      stringOf(type),
      ...(subject === null ? [] : [keys.subject, stringOf(subject)]),
      Buffer.from(`${times}${origin},"kafka_offset":${offset}`),
      ...(data === null ? [] : [keys.data, onOneLine(data)]),
      ...(extensions === null ? [] : [keys.extensions, onOneLine(extensions)]),
      end,
    ]);
  };
}

/** UTC with six decimals, `2026-11-23 08:00:00.000001 UTC`, for the years 1 to 9999. */
export function timestampText(micros: bigint): string {
  const seconds = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n);
  const fraction = String(micros - seconds * 1_000_000n).padStart(6, '0');
  const [day = '', time = ''] = new Date(Number(seconds) * 1000).toISOString().split('T');
  return `${day} ${time.slice(0, 8)}.${fraction} UTC`;
}

function stringOf(text: Buffer): Buffer {
  return Buffer.from(JSON.stringify(text.toString('utf8')));
}

/** Inside of a JSON string a line break is escaped, so that every raw one stands between tokens. */
function onOneLine(json: Buffer): Buffer {
  if (!json.includes(0x0a) && !json.includes(0x0d)) {
    return json;
  }
  return Buffer.from(json.map((byte) => (byte === 0x0a || byte === 0x0d ? space : byte)));
}
