import { JsonScanner, type JsonKind, type Member } from './json-scan.ts';
import type { Span } from './span.ts';
import { keyOf } from './text.ts';

/** Where a value stands in a JSON document's bytes; strings with their quotes. */
export type JsonPlace = Pick<Member, 'valueStart' | 'valueEnd' | 'kind' | 'escaped'>;

/** Finds values in a JSON document by the names that lead to them. The outermost object is scanned once a document. */
export class DataPaths {
  readonly #scanner: JsonScanner;
  readonly #inner: JsonScanner;
  readonly #repeated: 'first' | 'last';
  #scanned: Span | null = null;

  /** @param repeated which of several members of one name counts: jsonb keeps the last, BigQuery's JSON the first */
  constructor(maxDepth: number, repeated: 'first' | 'last') {
    this.#scanner = new JsonScanner({ maxDepth });
    this.#inner = new JsonScanner({ maxDepth });
    this.#repeated = repeated;
  }

  /**
   * Undefined: there is none, or the path goes through something that is no object. Names are told apart by case. The
   * member's positions are in `data.bytes`.
   */
  find(data: Span, path: readonly string[]): Member | undefined {
    if (this.#scanned !== data) {
      this.#scanner.scan(data.bytes, data.start, data.end);
      this.#scanned = data;
    }
    let scanner = this.#scanner;
    let member: Member | undefined;
    for (const [depth, name] of path.entries()) {
      if (depth > 0) {
        if (member?.kind !== 'object') {
          return undefined;
        }
        scanner = this.#inner;
        scanner.scan(data.bytes, member.valueStart, member.valueEnd);
      }
      member = scanner.kind === 'object' ? this.#named(data.bytes, scanner, name) : undefined;
      if (member === undefined) {
        return undefined;
      }
    }
    return member;
  }

  #named(bytes: Buffer, scanner: JsonScanner, name: string): Member | undefined {
    for (let index = 0; index < scanner.memberCount; index += 1) {
      const at = this.#repeated === 'first' ? index : scanner.memberCount - 1 - index;
      const member = scanner.members[at];
      if (member !== undefined && keyOf(bytes, member) === name) {
        return { ...member };
      }
    }
    return undefined;
  }
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const closeBracket = 0x5d;

/**
 * The elements of the array at `data[start, end)`, which is known to be valid JSON.
 * @returns null when one of them is itself an array or an object
 */
export function scalarElements(data: Buffer, start: number, end: number): readonly JsonPlace[] | null {
  const elements: JsonPlace[] = [];
  let at = start + 1;
  while (at < end) {
    const byte = data[at] ?? 0;
    if (byte <= 0x20 || byte === comma || byte === closeBracket) {
      at += 1;
      continue;
    }
    const kind = kindAt(byte);
    if (kind === 'object' || kind === 'array') {
      return null;
    }
    const element = kind === 'string' ? stringFrom(data, at) : wordFrom(data, at, kind);
    elements.push(element);
    at = element.valueEnd;
  }
  return elements;
}

function kindAt(byte: number): JsonKind {
  switch (byte) {
    case quote:
      return 'string';
    case 0x5b:
      return 'array';
    case 0x7b:
      return 'object';
    case 0x74:
      return 'true';
    case 0x66:
      return 'false';
    case 0x6e:
      return 'null';
    default:
      return 'number';
  }
}

function stringFrom(data: Buffer, valueStart: number): JsonPlace {
  let at = valueStart + 1;
  let escaped = false;
  while (data[at] !== quote) {
    escaped ||= data[at] === backslash;
    at += data[at] === backslash ? 2 : 1;
  }
  return { valueStart, valueEnd: at + 1, kind: 'string', escaped };
}

/** A number or a literal: up to a blank, a comma or the closing bracket. */
function wordFrom(data: Buffer, valueStart: number, kind: JsonKind): JsonPlace {
  let at = valueStart;
  for (;;) {
    const byte = data[at] ?? 0;
    if (byte <= 0x20 || byte === comma || byte === closeBracket) {
      return { valueStart, valueEnd: at, kind, escaped: false };
    }
    at += 1;
  }
}
