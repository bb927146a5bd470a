/**
 * Timestamps as records carry them: strict RFC 3339 with a zone, or a JSON number of ms since the epoch. Everything that
 * PostgreSQL would guess at (now, infinity, 01/02/03) or JavaScript would bend (30 February) is refused.
 */
export type TimestampFault = 'invalid_timestamp' | 'timestamp_range';

export interface Timestamp {
  /** Whole milliseconds since 1970, UTC. */
  readonly ms: number;
  /** 0–999 microseconds on top; finer digits are cut, as PostgreSQL keeps none. */
  readonly micros: number;
}

/** PostgreSQL's timestamptz: 4714-11-24 BC up to the end of 294276 AD. */
const minMs = -210_866_803_200_000;
const maxMs = 9_224_318_015_999_000;

/** Dates that some clock can write but that lie outside a four-digit year: 294277-…, -005000-…, +275760-…. */
const longYear = /^(?:[+-]?\d{5,}|[+-]\d{4})-\d{2}-\d{2}[Tt]/;

const digit0 = 0x30;

export function parseRfc3339(text: string): Timestamp | TimestampFault {
  const bytes = Buffer.from(text);
  return parseRfc3339Bytes(bytes, 0, bytes.length);
}

/**
 * The text is `bytes[start, end)`: the hot path reads it where it stands and makes no string.
 * `YYYY-MM-DDTHH:MM:SS[.digits](Z|±HH:MM)`, where T and Z may be small letters.
 */
export function parseRfc3339Bytes(bytes: Uint8Array, start: number, end: number): Timestamp | TimestampFault {
  const zoneAt = end - start < 20 ? -1 : afterFraction(bytes, start + 19, end);
  const zone = zoneAt < 0 ? Number.NaN : zoneMinutes(bytes, zoneAt, end);
  const year = twoDigits(bytes, start) * 100 + twoDigits(bytes, start + 2);
  const month = twoDigits(bytes, start + 5);
  const day = twoDigits(bytes, start + 8);
  const hour = twoDigits(bytes, start + 11);
  const minute = twoDigits(bytes, start + 14);
  const second = twoDigits(bytes, start + 17);
  const isTime = hour <= 23 && minute <= 59 && second <= 60;
  if (Number.isNaN(zone) || !isTime || !arePunctuation(bytes, start) || !isDate(year, month, day)) {
    return longYear.test(Buffer.from(bytes.subarray(start, end)).toString('latin1'))
      ? 'timestamp_range'
      : 'invalid_timestamp';
  }
  // A leap second, 23:59:60, falls on the first instant of the next minute by itself.
  const seconds = ((daysSinceEpoch(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
  const micros = fractionMicros(bytes, start + 20, zoneAt);
  return { ms: seconds * 1000 + Math.floor(micros / 1000), micros: micros % 1000 };
}

/** NaN, which compares as false, where one of the two is no digit. */
function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] ?? 0) - digit0;
  const ones = (bytes[at + 1] ?? 0) - digit0;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

function arePunctuation(bytes: Uint8Array, start: number): boolean {
  const dash = 0x2d;
  const colon = 0x3a;
  const between = (bytes[start + 10] ?? 0) | 0x20;
  return (
    bytes[start + 4] === dash &&
    bytes[start + 7] === dash &&
    between === 0x74 &&
    bytes[start + 13] === colon &&
    bytes[start + 16] === colon
  );
}

/** Where the zone begins; -1 for a point without digits. */
function afterFraction(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] !== 0x2e) {
    return start;
  }
  let at = start + 1;
  while (at < end && (bytes[at] ?? 0) >= digit0 && (bytes[at] ?? 0) <= digit0 + 9) {
    at += 1;
  }
  return at === start + 1 ? -1 : at;
}

/** Minutes east of UTC; NaN when it is no zone, or not the last of the text. */
function zoneMinutes(bytes: Uint8Array, start: number, end: number): number {
  const sign = bytes[start];
  if (end === start + 1) {
    return ((sign ?? 0) | 0x20) === 0x7a ? 0 : Number.NaN;
  }
  const hours = twoDigits(bytes, start + 1);
  const minutes = twoDigits(bytes, start + 4);
  const isZone = end === start + 6 && bytes[start + 3] === 0x3a && hours <= 15 && minutes <= 59;
  if (!isZone || (sign !== 0x2b && sign !== 0x2d)) {
    return Number.NaN;
  }
  return (sign === 0x2d ? -1 : 1) * (hours * 60 + minutes);
}

/** The first six digits of the fraction. */
function fractionMicros(bytes: Uint8Array, start: number, end: number): number {
  let micros = 0;
  for (let at = start; at < start + 6; at += 1) {
    micros = micros * 10 + (at < end ? (bytes[at] ?? digit0) - digit0 : 0);
  }
  return micros;
}

/** Days of the proleptic Gregorian calendar since 1970-01-01; years begin in March, so that leap days come last. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Whether a timestamptz can hold it. Kafka's own timestamps are a producer's word too. */
export function isStorableMs(ms: number): boolean {
  return ms >= minMs && ms <= maxMs;
}

/** What a number counts since the epoch: 10^-exponent seconds. */
const secondsExponent = { s: 0, ms: 3, us: 6, ns: 9 } as const;
export type EpochUnit = keyof typeof secondsExponent;

/** A JSON number's parts; what is no number has passed no scanner. */
const numberText = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** A JSON number's text as a time: without a double in between, since `1793534400000.001` is no double. */
export function parseEpoch(text: string, unit: EpochUnit): Timestamp | TimestampFault {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = numberText.exec(text) ?? [];
  const value = Number(text) * 10 ** (3 - secondsExponent[unit]);
  if (!isStorableMs(value)) {
    return 'timestamp_range';
  }
  const digits = whole + fraction;
  // Where the point stands when the number counts microseconds.
  const point = whole.length + Number(exponent) + 6 - secondsExponent[unit];
  const kept = BigInt(digits.slice(0, Math.max(0, point)) || '0');
  const isCut = /[1-9]/.test(digits.slice(Math.max(0, point)));
  // In range and not 0: there are not many zeros to add.
  const magnitude = kept === 0n ? 0n : kept * 10n ** BigInt(Math.max(0, point - digits.length));
  const micros = sign === '' ? magnitude : -magnitude - (isCut ? 1n : 0n);
  const below = ((micros % 1000n) + 1000n) % 1000n;
  return { ms: Number((micros - below) / 1000n), micros: Number(below) };
}

/** Milliseconds since the epoch, as a JSON number's text. */
export function parseEpochMs(text: string): Timestamp | TimestampFault {
  // Nearly every one is whole and short, and then it is a double.
  return /^\d{1,15}$/.test(text) ? { ms: Number(text), micros: 0 } : parseEpoch(text, 'ms');
}

const daysOfMonth = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function isDate(year: number, month: number, day: number): boolean {
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = month === 2 && leap ? 29 : (daysOfMonth[month - 1] ?? 0);
  return day >= 1 && day <= days;
}
