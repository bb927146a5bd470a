import { previewOf, shownBytes, shownHeaders, type ShownBytes, type ShownHeader } from '../records/shown-bytes.ts';
import type { DeadLetter, Place } from './dead-letter.ts';
import type { LetterState } from './letter-index.ts';
import { isoTime } from './selection.ts';

/** A dead letter as documents say it. */
export interface ShownLetter {
  readonly role: string | null;
  readonly state: LetterState;
  readonly reason: string;
  readonly sqlstate: string | null;
  readonly message: string;
  /** Where the record failed. */
  readonly source: Place;
  /** When the letter was written, RFC 3339. */
  readonly at: string | null;
  readonly firstFailedAt: string | null;
  readonly attempts: number;
  readonly redrives: number;
  readonly key: ShownBytes;
  /** Its beginning: text, or hex after 0x. null: there is none, or it stayed where the record came from. */
  readonly valuePreview: string | null;
  /** Of the record; null: it has none. */
  readonly valueBytes: number | null;
  /** The value did not fit into the dead-letter topic: it is at `source`, as long as that keeps it. */
  readonly valueOmitted: boolean;
  /** The record's own. */
  readonly headers: readonly ShownHeader[];
  /** Where the letter lies. */
  readonly deadLetter: Place;
  /** How often it lies there: a crash writes letters again. */
  readonly copies: number;
}

const previewLength = 200;

export function shownLetter(letter: DeadLetter, state: LetterState, copies: number): ShownLetter {
  const { role, reason, sqlstate, message, source, firstFailedAt, attempts, redrives, key, value, omittedBytes } =
    letter;
  return {
    role,
    state,
    reason,
    sqlstate,
    message,
    source,
    at: isoTime(letter.atMs),
    firstFailedAt,
    attempts,
    redrives,
    key: shownBytes(key),
    valuePreview: previewOf(value, previewLength),
    valueBytes: omittedBytes ?? value?.length ?? null,
    valueOmitted: omittedBytes !== null,
    headers: shownHeaders(letter.headers),
    deadLetter: letter.lies,
    copies,
  };
}
