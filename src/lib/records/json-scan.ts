/**
 * A strict JSON (RFC 8259) validator over bytes that notes where the members of the outermost object stand. It builds
 * nothing: `data` is copied verbatim later, so that 9007199254740993, 1.10 and 1e400 survive, and no garbage is made.
 *
 * The bytes must be valid UTF-8 (check with node:buffer's isUtf8 first). PostgreSQL cannot store U+0000 and lone
 * surrogates in jsonb: in a string value their escapes are noted, to be overwritten with \ufffd (which has the same
 * length); in an object's key they make the document unstorable.
 */
export type ScanFault = 'malformed_json' | 'too_deep' | 'unstorable_text' | 'number_range';

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'true' | 'false' | 'null';

/** A member of the outermost object, by positions in the bytes. Strings include their quotes. */
export interface Member {
  keyStart: number;
  keyEnd: number;
  keyEscaped: boolean;
  valueStart: number;
  valueEnd: number;
  kind: JsonKind;
  /** The value is a string with a backslash in it. */
  escaped: boolean;
}

export interface ScanLimits {
  readonly maxDepth: number;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const minus = 0x2d;
const plus = 0x2b;
const dot = 0x2e;
const zero = 0x30;
const nine = 0x39;

/** Beyond this, nine bytes of text become many kilobytes of numeric in PostgreSQL. */
const maxExponent = 16_383;

/** 1 for the bytes that end the fast run inside a string: quote, backslash, control characters. */
const endsRun = new Uint8Array(256).map((_, byte) => (byte < 0x20 || byte === quote || byte === backslash ? 1 : 0));

/** Reusable: one scanner a role, no allocation a document beyond the first. */
export class JsonScanner {
  /** The members of the outermost object, in order; valid until the next scan. Only the first `memberCount` count. */
  readonly members: Member[] = [];
  memberCount = 0;
  /** What the outermost value is. */
  kind: JsonKind = 'null';
  /** Starts of the six-byte escapes (\u0000, lone surrogates) that must become \ufffd. */
  readonly unstorableEscapes: number[] = [];

  readonly #maxDepth: number;
  /** 1 where the open container at that depth is an object. */
  readonly #objectAt: Uint8Array;
  #bytes: Uint8Array = new Uint8Array(0);
  #end = 0;
  #fault: ScanFault | null = null;
  #escaped = false;

  constructor(limits: ScanLimits) {
    this.#maxDepth = limits.maxDepth;
    this.#objectAt = new Uint8Array(limits.maxDepth + 1);
  }

  /** Scans `bytes[start, end)`. Answers null when it is one valid document, else what is wrong with it. */
  scan(bytes: Uint8Array, start: number, end: number): ScanFault | null {
    this.#bytes = bytes;
    this.#end = end;
    this.#fault = null;
    this.memberCount = 0;
    this.unstorableEscapes.length = 0;
    const after = this.#value(this.#blank(start));
    if (this.#fault === null && this.#blank(after) !== end) {
      this.#fault = 'malformed_json';
    }
    return this.#fault;
  }

  #fail(fault: ScanFault): number {
    this.#fault ??= fault;
    return this.#end;
  }

  #blank(from: number): number {
    const bytes = this.#bytes;
    let at = from;
    for (; at < this.#end; at += 1) {
      const byte = bytes[at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        break;
      }
    }
    return at;
  }

  /** The outermost value: iterative, so that depth costs no stack. Answers the position after it. */
  #value(start: number): number {
    const bytes = this.#bytes;
    const objectAt = this.#objectAt;
    let depth = 0;
    let at = start;
    let member: Member | null = null;
    for (;;) {
      // Here a value begins.
      const byte = at < this.#end ? bytes[at] : -1;
      const valueStart = at;
      let kind: JsonKind;
      if (byte === openBrace || byte === openBracket) {
        kind = byte === openBrace ? 'object' : 'array';
        at = this.#blank(at + 1);
        const empty = bytes[at] === (byte === openBrace ? closeBrace : closeBracket) && at < this.#end;
        if (!empty) {
          if (depth === this.#maxDepth) {
            return this.#fail('too_deep');
          }
          depth += 1;
          objectAt[depth] = byte === openBrace ? 1 : 0;
          if (depth === 1) {
            this.kind = kind;
          } else if (member !== null && depth === 2) {
            member.valueStart = valueStart;
            member.kind = kind;
          }
          if (byte === openBrace) {
            at = this.#key(at, depth === 1);
            if (this.#fault !== null) {
              return at;
            }
            member = depth === 1 ? this.#lastMember() : member;
          }
          continue;
        }
        at += 1;
      } else if (byte === quote) {
        kind = 'string';
        at = this.#string(at, false);
      } else if (byte === minus || (byte !== undefined && byte >= zero && byte <= nine)) {
        kind = 'number';
        at = this.#number(at);
      } else {
        kind = byte === 0x74 ? 'true' : byte === 0x66 ? 'false' : 'null';
        at = this.#literal(at, kind);
      }
      if (this.#fault !== null) {
        return at;
      }
      if (depth === 0) {
        this.kind = kind;
        return at;
      }
      if (depth === 1 && member !== null) {
        member.valueStart = valueStart;
        member.valueEnd = at;
        member.kind = kind;
        member.escaped = kind === 'string' && this.#escaped;
      }
      // Here a value has ended: close what closes, then go on to the next one.
      for (;;) {
        at = this.#blank(at);
        const next = at < this.#end ? bytes[at] : -1;
        if (next === comma) {
          at = this.#blank(at + 1);
          if (objectAt[depth] === 1) {
            at = this.#key(at, depth === 1);
            member = depth === 1 && this.#fault === null ? this.#lastMember() : member;
          }
          break;
        }
        if (next !== (objectAt[depth] === 1 ? closeBrace : closeBracket)) {
          return this.#fail('malformed_json');
        }
        at += 1;
        depth -= 1;
        if (depth === 0) {
          return at;
        }
        if (depth === 1 && member !== null) {
          member.valueEnd = at;
          member.escaped = false;
        }
      }
      if (this.#fault !== null) {
        return at;
      }
    }
  }

  #lastMember(): Member | null {
    return this.members[this.memberCount - 1] ?? null;
  }

  /** A key and its colon. Answers where the value begins. */
  #key(start: number, outermost: boolean): number {
    if (start >= this.#end || this.#bytes[start] !== quote) {
      return this.#fail('malformed_json');
    }
    const keyEnd = this.#string(start, true);
    if (this.#fault !== null) {
      return keyEnd;
    }
    if (outermost) {
      this.#openMember(start, keyEnd);
    }
    const at = this.#blank(keyEnd);
    if (at >= this.#end || this.#bytes[at] !== colon) {
      return this.#fail('malformed_json');
    }
    return this.#blank(at + 1);
  }

  #openMember(keyStart: number, keyEnd: number): void {
    let member = this.members[this.memberCount];
    if (member === undefined) {
      member = { keyStart, keyEnd, keyEscaped: false, valueStart: 0, valueEnd: 0, kind: 'null', escaped: false };
      this.members.push(member);
    }
    member.keyStart = keyStart;
    member.keyEnd = keyEnd;
    member.keyEscaped = this.#escaped;
    this.memberCount += 1;
  }

  /** A string from its opening quote. Answers the position after the closing one. */
  #string(start: number, isKey: boolean): number {
    const bytes = this.#bytes;
    const end = this.#end;
    this.#escaped = false;
    let at = start + 1;
    for (;;) {
      while (at < end && endsRun[bytes[at] ?? 0] === 0) {
        at += 1;
      }
      if (at >= end) {
        return this.#fail('malformed_json');
      }
      const byte = bytes[at];
      if (byte === quote) {
        return at + 1;
      }
      if (byte !== backslash) {
        return this.#fail('malformed_json');
      }
      this.#escaped = true;
      at = this.#escape(at, isKey);
      if (this.#fault !== null) {
        return at;
      }
    }
  }

  #escape(start: number, isKey: boolean): number {
    switch (start + 1 < this.#end ? this.#bytes[start + 1] : -1) {
      case quote:
      case backslash:
      case 0x2f: // /
      case 0x62: // b
      case 0x66: // f
      case 0x6e: // n
      case 0x72: // r
      case 0x74: // t
        return start + 2;
      case 0x75: // u
        return this.#unicodeEscape(start, isKey);
      default:
        return this.#fail('malformed_json');
    }
  }

  #unicodeEscape(start: number, isKey: boolean): number {
    const unit = this.#hex4(start + 2);
    if (unit < 0) {
      return this.#fail('malformed_json');
    }
    const isHigh = unit >= 0xd800 && unit <= 0xdbff;
    if (isHigh && this.#bytes[start + 6] === backslash && this.#bytes[start + 7] === 0x75 && start + 12 <= this.#end) {
      const low = this.#hex4(start + 8);
      if (low >= 0xdc00 && low <= 0xdfff) {
        return start + 12;
      }
    }
    if (unit === 0 || (unit >= 0xd800 && unit <= 0xdfff)) {
      if (isKey) {
        return this.#fail('unstorable_text');
      }
      this.unstorableEscapes.push(start);
    }
    return start + 6;
  }

  /** The code unit of four hex digits, or -1. */
  #hex4(start: number): number {
    if (start + 4 > this.#end) {
      return -1;
    }
    let unit = 0;
    for (let at = start; at < start + 4; at += 1) {
      const byte = this.#bytes[at] ?? 0;
      const lower = byte | 0x20;
      const digit = byte >= zero && byte <= nine ? byte - zero : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
      if (digit < 0) {
        return -1;
      }
      unit = unit * 16 + digit;
    }
    return unit;
  }

  #number(start: number): number {
    const bytes = this.#bytes;
    let at = bytes[start] === minus ? start + 1 : start;
    const first = at < this.#end ? (bytes[at] ?? 0) : 0;
    if (first < zero || first > nine) {
      return this.#fail('malformed_json');
    }
    at = first === zero ? at + 1 : this.#digits(at);
    if (at < this.#end && bytes[at] === dot) {
      const fraction = this.#digits(at + 1);
      if (fraction === at + 1) {
        return this.#fail('malformed_json');
      }
      at = fraction;
    }
    return at < this.#end && ((bytes[at] ?? 0) | 0x20) === 0x65 ? this.#exponent(at + 1) : at;
  }

  #exponent(start: number): number {
    const sign = start < this.#end ? this.#bytes[start] : -1;
    const from = sign === minus || sign === plus ? start + 1 : start;
    const to = this.#digits(from);
    if (to === from) {
      return this.#fail('malformed_json');
    }
    let magnitude = 0;
    for (let at = from; at < to && magnitude <= maxExponent; at += 1) {
      magnitude = magnitude * 10 + (this.#bytes[at] ?? zero) - zero;
    }
    return magnitude > maxExponent ? this.#fail('number_range') : to;
  }

  #digits(start: number): number {
    let at = start;
    while (at < this.#end) {
      const byte = this.#bytes[at] ?? 0;
      if (byte < zero || byte > nine) {
        break;
      }
      at += 1;
    }
    return at;
  }

  #literal(start: number, word: 'true' | 'false' | 'null'): number {
    if (start + word.length > this.#end) {
      return this.#fail('malformed_json');
    }
    for (let index = 0; index < word.length; index += 1) {
      if (this.#bytes[start + index] !== word.charCodeAt(index)) {
        return this.#fail('malformed_json');
      }
    }
    return start + word.length;
  }
}

/** `bytes[start, end)` with every noted escape inside replaced by \ufffd. A copy only where there is one. */
export function storableSlice(bytes: Buffer, start: number, end: number, escapes: readonly number[]): Buffer {
  const inside = escapes.filter((at) => at >= start && at < end);
  if (inside.length === 0) {
    return bytes.subarray(start, end);
  }
  const copy = Buffer.from(bytes.subarray(start, end));
  for (const at of inside) {
    copy.write('\\ufffd', at - start, 'latin1');
  }
  return copy;
}
