/** Why a record cannot be stored: the dead letter's reason code, which operators filter by. */
export type DeadLetterReason =
  | 'malformed_json'
  | 'invalid_utf8'
  | 'schema'
  | 'invalid_id'
  | 'ambiguous_id'
  | 'unstorable_text'
  | 'invalid_timestamp'
  | 'timestamp_range'
  | 'number_range'
  | 'too_deep'
  | 'too_large'
  | 'too_many_headers'
  | 'undecodable'
  | 'null_value'
  | 'projection_type'
  | 'sink_rejected'
  | 'bq_schema';

/** What decoding a record came to. `message` is for the operator and quotes no content. */
export type Decoded<Row> =
  | { readonly kind: 'row'; readonly row: Row }
  | { readonly kind: 'dead'; readonly reason: DeadLetterReason; readonly message: string };

export function dead(reason: DeadLetterReason, message: string): Decoded<never> {
  return { kind: 'dead', reason, message };
}

const faultMessages: Readonly<Partial<Record<DeadLetterReason, string>>> = {
  malformed_json: 'the value is not one valid JSON document',
  invalid_utf8: 'the value is not UTF-8',
  too_deep: 'the JSON nests deeper than limits.maxDepth',
  unstorable_text: 'an object key holds U+0000 or a lone surrogate',
  number_range: 'a number has an exponent beyond 16383',
  invalid_timestamp: 'the time is not RFC 3339 with a zone, nor epoch milliseconds',
  timestamp_range: 'the time is outside what a timestamp can hold (4713 BC to 294276 AD)',
  null_value: 'the record has no value (a tombstone)',
};

/** A dead letter for a fault that needs no more words than its code. */
export function deadBy(reason: DeadLetterReason): Decoded<never> {
  return dead(reason, faultMessages[reason] ?? reason);
}
