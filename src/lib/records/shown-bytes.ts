import { isUtf8 } from 'node:buffer';

import type { RecordHeader } from '../ports.ts';

/** Bytes as JSON says them: text where they are UTF-8. */
export type ShownBytes = string | { readonly base64: string } | null;

export interface ShownHeader {
  readonly name: string;
  readonly value: ShownBytes;
}

export function shownBytes(bytes: Buffer | null): ShownBytes {
  if (bytes === null) {
    return null;
  }
  return isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') };
}

/** In their order; names repeat. */
export function shownHeaders(headers: readonly RecordHeader[]): readonly ShownHeader[] {
  return headers.map(([name, value]) => ({ name, value: shownBytes(value) }));
}

/** The beginning of bytes as text: UTF-8, or hex where they are none; null for none. At most about `maxLength` characters. */
export function previewOf(bytes: Buffer | null, maxLength: number): string | null {
  if (bytes === null) {
    return null;
  }
  // A character has at most 4 bytes, and the cut may have gone through one.
  const start = bytes.subarray(0, maxLength * 4);
  const isText = isUtf8(bytes.length > start.length ? withoutCutCharacter(start) : start);
  const text = isText ? start.toString() : `0x${start.toString('hex')}`;
  const characters = text.slice(0, maxLength).toWellFormed();
  return text.length > maxLength || bytes.length > start.length ? `${characters}…` : characters;
}

function withoutCutCharacter(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes.length - end < 3 && ((bytes[end - 1] ?? 0) & 0xc0) === 0x80) {
    end -= 1;
  }
  const lead = bytes[end - 1] ?? 0;
  return lead >= 0xc0 ? bytes.subarray(0, end - 1) : bytes;
}
