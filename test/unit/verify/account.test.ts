import { describe, expect, test } from 'vitest';

import { findingsOf, isBalanced, type Comparison, type StretchCounts } from '../../../src/lib/verify/account.ts';

const options = { lettersDeleted: 0, rowsExpire: false };
const stretch = {
  partition: 3,
  firstOffset: 100n,
  nextOffset: 200n,
  stored: 80,
  duplicates: 10,
  rereads: 4,
  deadLetters: 5,
  skipped: 1,
  gaps: 4,
  endedBy: null,
};
const counts: StretchCounts = { stretch, rows: 84, repeatedRows: 0, buried: 5 };
const comparison: Comparison = {
  missingRows: [],
  missingLetters: [],
  changed: [],
  expired: 0,
  unread: [],
  compared: 0,
};
const at = (from: bigint, to = from + 1n) => ({ from, to });
const kinds = (
  more: Partial<StretchCounts>,
  compared: Partial<Comparison> | null = null,
  judging = options,
): readonly unknown[] =>
  findingsOf({ ...counts, ...more }, compared === null ? null : { ...comparison, ...compared }, [], judging).map(
    ({ kind, records, offsets }) => [kind, records, offsets.join(',')],
  );

describe('an account', () => {
  test('balances when the counters make up the position, and rows and dead letters are there', () => {
    expect([isBalanced(counts, options), kinds({})]).toEqual([true, []]);
  });

  test.each([
    ['a row less', { rows: 83 }, [['rows-missing', 1, '']]],
    ['a row more', { rows: 85 }, [['rows-uncounted', 1, '']]],
    ['a row twice', { repeatedRows: 1 }, [['rows-repeated', 1, '']]],
    ['a dead letter less', { buried: 4 }, [['dead-letters-missing', 1, '']]],
    ['the position on', { stretch: { ...stretch, nextOffset: 203n } }, [['position-unaccounted', 3, '']]],
    ['the position back', { stretch: { ...stretch, nextOffset: 199n } }, [['position-unaccounted', 1, '']]],
    [
      'two things at once',
      { rows: 83, buried: 3 },
      [
        ['rows-missing', 1, ''],
        ['dead-letters-missing', 2, ''],
      ],
    ],
  ])('does not balance: %s', (_what, more, expected) => {
    expect([isBalanced({ ...counts, ...more }, options), kinds(more)]).toEqual([false, expected]);
  });

  test('a dead letter more is one that was written before a kill, not a fault', () => {
    expect(isBalanced({ ...counts, buried: 6 }, options)).toBe(true);
  });

  test('dead letters that the topic itself deleted are not missed, those beyond them are', () => {
    expect(kinds({ buried: 2 }, null, { ...options, lettersDeleted: 3 })).toEqual([]);
    expect(kinds({ buried: 1 }, null, { ...options, lettersDeleted: 3 })).toEqual([['dead-letters-missing', 1, '']]);
  });

  test('a comparison names the offsets of what is missing', () => {
    expect(kinds({ rows: 82 }, { missingRows: [at(120n, 122n)] })).toEqual([['rows-missing', 2, '120-121']]);
    expect(kinds({ buried: 4 }, { missingLetters: [at(130n)] })).toEqual([['dead-letters-missing', 1, '130']]);
    expect(kinds({ buried: 4 }, { missingRows: [at(131n)] })).toEqual([['dead-letters-missing', 1, '131']]);
    expect(kinds({ stretch: { ...stretch, nextOffset: 202n } }, { missingRows: [at(200n, 202n)] })).toEqual([
      ['position-unaccounted', 2, '200-201'],
    ]);
  });

  test('what a comparison finds beyond the counts is told for itself', () => {
    expect(kinds({}, { missingRows: [at(140n)] })).toEqual([['no-effect', 1, '140']]);
    expect(kinds({}, { changed: [{ offset: 150n, columns: ['data'] }] })).toEqual([['content-changed', 1, '150']]);
  });

  test('rows that are not there, of records that Kafka has no more: missing of a table that keeps, expired of one that does not', () => {
    expect(kinds({ rows: 83 }, { unread: [at(100n, 103n)] })).toEqual([['rows-missing', 1, '100-102']]);
    expect(kinds({ rows: 83 }, { unread: [at(100n, 103n)] }, { ...options, rowsExpire: true })).toEqual([]);
    expect(kinds({ rows: 83 }, { expired: 1 }, { ...options, rowsExpire: true })).toEqual([]);
  });
});
