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

const pattern = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;
/** Dates that some clock can write but that lie outside a four-digit year: 294277-…, -005000-…, +275760-…. */
const longYear = /^[+-]?\d{5,}-\d{2}-\d{2}[Tt]/;

export function parseRfc3339(text: string): Timestamp | TimestampFault {
  const match = pattern.exec(text);
  if (match === null) {
    return longYear.test(text) || /^[+-]\d{4,}-\d{2}-\d{2}[Tt]/.test(text) ? 'timestamp_range' : 'invalid_timestamp';
  }
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const zoneHours = Number(match[9] ?? 0);
  const zoneMinutes = Number(match[10] ?? 0);
  if (hour > 23 || minute > 59 || second > 60 || zoneHours > 15 || zoneMinutes > 59 || !isDate(year, month, day)) {
    return 'invalid_timestamp';
  }
  const zone = (match[8] === '-' ? -1 : 1) * (zoneHours * 60 + zoneMinutes);
  const fraction = (match[7] ?? '').padEnd(6, '0');
  // A leap second, 23:59:60, falls on the first instant of the next minute by itself.
  const seconds = ((daysSinceEpoch(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
  return { ms: seconds * 1000 + Number(fraction.slice(0, 3)), micros: Number(fraction.slice(3, 6)) };
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

/** Milliseconds since the epoch, as a JSON number's text. */
export function parseEpochMs(text: string): Timestamp | TimestampFault {
  const value = Number(text);
  if (!isStorableMs(value)) {
    return 'timestamp_range';
  }
  const ms = Math.floor(value);
  // Just below a whole millisecond the difference rounds up to one.
  return { ms, micros: Math.min(999, Math.floor((value - ms) * 1000)) };
}

function isDate(year: number, month: number, day: number): boolean {
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return month >= 1 && month <= 12 && day >= 1 && day <= (days[month - 1] ?? 0);
}
