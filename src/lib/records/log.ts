import type { SourceRecord } from '../ports.ts';
import { dead, deadBy, type Decoded } from './decoded.ts';
import { JsonScanner } from './json-scan.ts';
import { decodeLogObject } from './log-json.ts';
import { decodeOtlp } from './log-otlp.ts';
import { decodeLogText } from './log-text.ts';
import type { LogLine } from './log-line.ts';
import { storableText, textStart } from './text.ts';
import { isStorableMs } from './timestamp.ts';

/** The lines of one record: one, or those of an OTLP export. */
export interface LogRow {
  readonly offset: bigint;
  /** Kafka's timestamp: the observed time. */
  readonly recordTimeMs: number;
  readonly lines: readonly LogLine[];
}

export interface LogDecoderOptions {
  readonly limits: { readonly maxValueBytes: number; readonly maxDepth: number; readonly maxHeaders: number };
}

export type LogDecoder = (record: SourceRecord) => Decoded<LogRow>;

/**
 * A decoder for the shapes that pino, winston, bunyan, ECS and OTLP/JSON write, for logfmt, RFC 5424 syslog and plain
 * text. Whatever begins with `{` must be JSON; anything else is text and always storable.
 */
export function createLogDecoder(options: LogDecoderOptions): LogDecoder {
  const scanner = new JsonScanner(options.limits);
  return (record) => {
    const { value } = record;
    if (record.headers.length > options.limits.maxHeaders) {
      return dead('too_many_headers', `the record has ${record.headers.length} headers`);
    }
    if (value === null) {
      return deadBy('null_value');
    }
    if (value.length > options.limits.maxValueBytes) {
      return dead('too_large', `the value has ${value.length} bytes`);
    }
    if (!isStorableMs(record.timestampMs)) {
      return deadBy('timestamp_range');
    }
    const lines = decodeLines(value, scanner);
    return lines.kind === 'dead'
      ? lines
      : { kind: 'row', row: { offset: record.offset, recordTimeMs: record.timestampMs, lines: lines.row } };
  };
}

function decodeLines(value: Buffer, scanner: JsonScanner): Decoded<readonly LogLine[]> {
  const start = textStart(value);
  if (start === null) {
    return deadBy('invalid_utf8');
  }
  if (firstByte(value, start) !== 0x7b) {
    const text = value.toString('utf8', start);
    return { kind: 'row', row: [decodeLogText(storableText(text), text.includes('\u0000'))] };
  }
  const fault = scanner.scan(value, start, value.length);
  if (fault !== null) {
    return deadBy(fault);
  }
  return decodeOtlp(value, scanner) ?? decodeLogObject(value, scanner);
}

/** The first byte that is not white space. */
function firstByte(value: Buffer, start: number): number | undefined {
  let at = start;
  while (at < value.length && (value[at] === 0x20 || value[at] === 0x09 || value[at] === 0x0a || value[at] === 0x0d)) {
    at += 1;
  }
  return value[at];
}
