import type { DeadLetterReason } from '../records/decoded.ts';
import type { DeadLetter } from './dead-letter.ts';

/** What a reason means, and what the operator can do about it. */
export interface Advice {
  readonly means: string;
  readonly next: string;
}

const producer = 'the producer writes it wrong: correct it there; a redrive of these bytes would fail again';

const reasons: Readonly<Record<DeadLetterReason, Advice>> = {
  malformed_json: { means: 'the value is not one JSON document', next: producer },
  invalid_utf8: { means: 'the value holds bytes that are not UTF-8', next: producer },
  schema: {
    means: 'the value is JSON, but not an event: an attribute is missing or has the wrong type',
    next: producer,
  },
  invalid_id: { means: 'id or source is empty, too long, or holds U+0000 or a lone surrogate', next: producer },
  ambiguous_id: { means: 'the record names its id or source twice, differently', next: producer },
  unstorable_text: {
    means: 'an object key holds U+0000 or a lone surrogate, which PostgreSQL cannot store',
    next: producer,
  },
  invalid_timestamp: { means: 'time is neither RFC 3339 with a zone nor epoch milliseconds', next: producer },
  timestamp_range: {
    means: 'time is outside of what a timestamp can hold (often nanoseconds where ms are meant)',
    next: producer,
  },
  number_range: { means: 'a number has an exponent that no database stores', next: producer },
  too_deep: {
    means: "the JSON nests deeper than the role's limits.maxDepth",
    next: 'raise limits.maxDepth in kpipe.yaml if such records are meant, restart the role, then redrive',
  },
  too_large: {
    means: "the record is larger than the role's limits.maxValueBytes",
    next: 'raise limits.maxValueBytes in kpipe.yaml if such records are meant, restart the role, then redrive',
  },
  too_many_headers: {
    means: "the record has more headers than the role's limits.maxHeaders",
    next: 'raise limits.maxHeaders in kpipe.yaml if such records are meant, restart the role, then redrive',
  },
  undecodable: {
    means: 'the record batch is not what its format says: no client can read it',
    next: 'it cannot be redriven; look at its producer and at the disk of the partition’s leader',
  },
  null_value: {
    means: 'the record has a key and no value (a tombstone), which is no event',
    next: 'find out who writes tombstones to the topic; there is nothing to store',
  },
  projection_type: {
    means: 'an event has no value, or one of another type, for a column of its projection',
    next: 'correct the projection in kpipe.yaml (or the producer), restart the role, then redrive',
  },
  sink_rejected: {
    means: 'PostgreSQL refused the row',
    next: 'the SQLSTATE names the rule: change the table or the projection, then redrive',
  },
  bq_schema: {
    means: 'BigQuery refused the row: it does not fit the schema of the table',
    next: 'change the table or the column’s declaration, restart the role, then redrive',
  },
};

const byReason: Readonly<Record<string, Advice>> = reasons;

const byState: Readonly<Record<string, string>> = {
  '22001': 'a text is longer than its column',
  '22003': 'a number is outside of its column’s range',
  '22007': 'a text is no date or time',
  '22008': 'a date or time is out of range',
  '22P02': 'a text does not have the form of its column’s type',
  '22P05': 'a character does not exist in the database’s encoding',
  '23502': 'a column that must not be null got null',
  '23503': 'a foreign key points to a row that is not there: redrive when it is',
  '23505': 'another row has this unique value already',
  '23514': 'a check constraint says no (or no partition takes the row)',
  '23P01': 'an exclusion constraint says no',
};

/** In the operator's words; a reason that kpipe does not know is somebody else's. */
export function adviceFor({ reason, sqlstate, undecodableUpTo, message }: DeadLetter): Advice {
  const known = Object.hasOwn(byReason, reason) ? byReason[reason] : undefined;
  const advice = known ?? {
    means: message === '' ? 'not written by this version of kpipe' : message,
    next: 'ask who wrote it, then redrive or purge it',
  };
  if (undecodableUpTo !== null) {
    return { means: advice.means, next: reasons.undecodable.next };
  }
  const state = sqlstate === null ? undefined : byState[sqlstate];
  return state === undefined ? advice : { means: `${advice.means}: ${state}`, next: advice.next };
}

/** The reasons that `--reason` takes. */
export const knownReasons = Object.keys(byReason);
