import type { AnalyticsRow } from './analytics-row.ts';
import type { CellValue } from './cell.ts';
import type { Column, ColumnName } from './columns.ts';
import type { Cell } from './typed-columns.ts';

/**
 * Rows as lines of newline-delimited JSON, for load jobs. JSON texts go in as they came: a line break between their tokens
 * becomes a space, and nothing is parsed, so that no number passes through a double. INT64 are numerals of any length.
 */
export type LineEncoder = (row: AnalyticsRow, cells?: readonly Cell[]) => Buffer;

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
  return ({ id, source, type, subject, timeMicros, offset, ingestedAtMs, data, extensions }, cells = []) => {
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
      ...cells.flatMap(cellParts),
      end,
    ]);
  };
}

function cellParts({ column, values }: Cell): readonly Buffer[] {
  const name = Buffer.from(`,"${column.name}":`);
  const texts = values.map((value) => valueText(column.type, value));
  return column.mode === 'REPEATED' ? [name, Buffer.from(`[${texts.map(String).join()}]`)] : [name, ...texts];
}

/** Whatever a reader of JSON could put into a double goes as a string, but for FLOAT64, which is one. */
function valueText(type: Column['type'], value: CellValue): Buffer {
  if (Buffer.isBuffer(value)) {
    return type === 'JSON' ? onOneLine(value) : stringOf(value);
  }
  switch (type) {
    case 'TIMESTAMP':
      return Buffer.from(`"${timestampText(BigInt(value))}"`);
    case 'DATE':
      return Buffer.from(`"${dateText(Number(value))}"`);
    case 'INT64':
      return Buffer.from(`"${value}"`);
    default:
      return Buffer.from(String(value));
  }
}

/** Days since 1970 as `2026-11-23`, for the years 1 to 9999. */
function dateText(days: number): string {
  return new Date(days * 86_400_000).toISOString().slice(0, 10);
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
