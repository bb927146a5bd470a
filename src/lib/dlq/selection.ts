import { parseDuration } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { parseOffsetPoint } from '../offsets/offset-spec.ts';
import { compileWhere, type Variable, type Variables, type WhereRecord } from '../where/where.ts';
import type { DeadLetter } from './dead-letter.ts';

/** Which dead letters are meant, as flags say it. What is absent does not restrict. */
export interface SelectionFlags {
  readonly where?: string | undefined;
  readonly reason?: readonly string[] | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

export interface Selection {
  /** Whether a letter is meant. */
  readonly matches: (letter: DeadLetter) => boolean;
  /** Whether a record that is no dead letter falls under it: only times choose those. */
  readonly matchesForeign: (atMs: number) => boolean;
  /** As it was said, for texts. */
  readonly text: string;
  readonly restricts: boolean;
}

/** @throws KPIPE_USAGE */
export function selectionOf(flags: SelectionFlags, nowMs: number): Selection {
  const sinceMs = flags.since === undefined ? Number.NEGATIVE_INFINITY : instantOf('--since', flags.since, nowMs);
  const untilMs = flags.until === undefined ? Number.POSITIVE_INFINITY : instantOf('--until', flags.until, nowMs);
  const reasons = flags.reason === undefined || flags.reason.length === 0 ? null : new Set(flags.reason);
  const where = flags.where === undefined ? null : compileWhere<LetterRecord>(flags.where, letterVariables);
  const inTime = (atMs: number): boolean => atMs >= sinceMs && atMs < untilMs;
  const parts = [
    ...(reasons === null ? [] : [`reason ${[...reasons].join(' or ')}`]),
    ...(flags.since === undefined ? [] : [`since ${new Date(sinceMs).toISOString()}`]),
    ...(flags.until === undefined ? [] : [`until ${new Date(untilMs).toISOString()}`]),
    ...(flags.where === undefined ? [] : [`where ${flags.where}`]),
  ];
  return {
    matches: (letter) =>
      inTime(letter.atMs) &&
      (reasons === null || reasons.has(letter.reason)) &&
      (where === null || where(letterRecord(letter))),
    matchesForeign: (atMs) => reasons === null && where === null && inTime(atMs),
    text: parts.join(', '),
    restricts: parts.length > 0,
  };
}

/** `2h` and `-2h` are that long ago; else a time: `2026-01-31`, `2026-01-31T12:00+01:00`. */
function instantOf(flag: string, text: string, nowMs: number): number {
  const ms = parseDuration(text);
  if (ms !== undefined) {
    return nowMs - ms;
  }
  const point = parseOffsetPoint(text, nowMs);
  if (point.kind !== 'time') {
    throw new KpipeError('KPIPE_USAGE', `${flag} ${text} is no time`, {
      next: 'write 2h, 7d, 2026-01-31 or 2026-01-31T12:00+01:00',
    });
  }
  return point.timestampMs;
}

/** A dead letter as `--where` sees it: topic, partition, offset and timestamp are those of the record that failed. */
interface LetterRecord extends WhereRecord {
  readonly letter: DeadLetter;
}

function letterRecord(letter: DeadLetter): LetterRecord {
  const { source, sourceTimestampMs, key, value, headers } = letter;
  return { ...source, timestampMs: sourceTimestampMs, key, value, headers, letter };
}

const text = (read: (letter: DeadLetter) => string | null): Variable<LetterRecord> => ({
  kind: 'text',
  read: ({ letter }) => read(letter),
});

const letterVariables: Variables<LetterRecord> = {
  reason: text(({ reason }) => reason),
  sqlstate: text(({ sqlstate }) => sqlstate),
  message: text(({ message }) => message),
  stage: text(({ stage }) => stage),
  role: text(({ role }) => role),
  at: text(({ atMs }) => isoTime(atMs)),
  firstFailedAt: text(({ firstFailedAt }) => firstFailedAt),
  attempts: { kind: 'number', read: ({ letter }) => letter.attempts },
  redrives: { kind: 'number', read: ({ letter }) => letter.redrives },
};

/** RFC 3339; null for what no calendar holds: a record's time can be any number. */
export function isoTime(ms: number): string | null {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
