import { isUtf8 } from 'node:buffer';

import type { JsonScanner, Member } from './json-scan.ts';

/** A JSON string's text from its bytes, quotes included; U+0000 and lone surrogates become U+FFFD. */
export function decodeJsonString(bytes: Buffer, start: number, end: number, escaped: boolean): string {
  if (!escaped) {
    return bytes.toString('utf8', start + 1, end - 1);
  }
  const text: unknown = JSON.parse(bytes.toString('utf8', start, end));
  return typeof text === 'string' ? storableText(text) : '';
}

/** A member's key as text. */
export function keyOf(bytes: Buffer, member: Member): string {
  return decodeJsonString(bytes, member.keyStart, member.keyEnd, member.keyEscaped);
}

/** PostgreSQL's text holds neither NUL nor lone surrogates. */
export function storableText(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '\ufffd');
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Where JSON text begins: after a byte order mark, which RFC 8259 lets a parser ignore. Null: not UTF-8. */
export function textStart(value: Buffer): number | null {
  if (!isUtf8(value)) {
    return null;
  }
  return value.length >= 3 && value.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
}

/** A record's value scanned as JSON; answers the fault, or null. */
export function scanValue(scanner: JsonScanner, value: Buffer): 'invalid_utf8' | ReturnType<JsonScanner['scan']> {
  const start = textStart(value);
  return start === null ? 'invalid_utf8' : scanner.scan(value, start, value.length);
}
