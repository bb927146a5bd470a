import { describe, expect, test } from 'vitest';

import {
  compareTopic,
  percentile,
  type AckedRecord,
  type FoundDeadLetter,
  type FoundRow,
} from '../../../src/lib/demo/findings.ts';

const record = (offset: number, over: Partial<AckedRecord> = {}): AckedRecord => ({
  partition: 0,
  offset: BigInt(offset),
  expect: 'stored',
  id: `id-${offset}`,
  ...over,
});
const row = (offset: number, over: Partial<FoundRow> = {}): FoundRow => ({
  partition: 0,
  offset: BigInt(offset),
  id: `id-${offset}`,
  rows: 1,
  latencyMs: 10,
  ...over,
});
const letter = (offset: number, reason: string): FoundDeadLetter => ({ partition: 0, offset: BigInt(offset), reason });

describe('compareTopic', () => {
  test('finds nothing to say when each record has its one effect', () => {
    const acked = [record(0), record(1, { expect: 'schema', id: null }), record(2, { partition: 1 })];
    const found = compareTopic(
      'events',
      acked,
      [row(0), row(2, { partition: 1, latencyMs: 30 })],
      [letter(1, 'schema')],
    );

    expect(found).toEqual({
      stored: 2,
      duplicates: 0,
      deadLetters: 1,
      deadLettersByReason: { schema: 1 },
      latencyP50Ms: 10,
      latencyP99Ms: 30,
      problems: [],
    });
  });

  test.each<
    [
      name: string,
      acked: readonly AckedRecord[],
      rows: readonly FoundRow[],
      letters: readonly FoundDeadLetter[],
      problems: readonly string[],
    ]
  >([
    [
      'a lost record',
      [record(7)],
      [],
      [],
      ['events: 1 record is neither stored nor a dead letter: lost (first: partition 0, offset 7)'],
    ],
    [
      'a lost dead letter',
      [record(7, { expect: 'schema' })],
      [],
      [],
      ['events: 1 record is neither stored nor a dead letter: lost (first: partition 0, offset 7)'],
    ],
    [
      'several of a kind',
      [record(7), record(8)],
      [],
      [],
      ['events: 2 records are neither stored nor a dead letter: lost (first: partition 0, offset 7)'],
    ],
    [
      'two rows',
      [record(7)],
      [row(7, { rows: 2 })],
      [],
      ['events: 1 record is stored more than once (first: partition 0, offset 7)'],
    ],
    [
      'the row in another partition',
      [record(7)],
      [row(7, { partition: 1 })],
      [],
      ['events: 1 record is neither stored nor a dead letter: lost (first: partition 0, offset 7)'],
    ],
    [
      'a row and a dead letter',
      [record(7)],
      [row(7)],
      [letter(7, 'schema')],
      ['events: 1 record is a dead letter (schema) that should be stored (first: partition 0, offset 7)'],
    ],
    [
      'a row that should be none',
      [record(7, { expect: 'schema', id: null })],
      [row(7)],
      [],
      ['events: 1 record is stored, but should be a dead letter (schema) (first: partition 0, offset 7)'],
    ],
    [
      'another reason',
      [record(7, { expect: 'schema' })],
      [],
      [letter(7, 'invalid_id')],
      ['events: 1 record is a dead letter for invalid_id that should be one for schema (first: partition 0, offset 7)'],
    ],
    [
      'two dead letters',
      [record(7, { expect: 'schema' })],
      [],
      [letter(7, 'schema'), letter(7, 'schema')],
      ['events: 1 record is a dead letter more than once (first: partition 0, offset 7)'],
    ],
    [
      'another id',
      [record(7)],
      [row(7, { id: 'other' })],
      [],
      ['events: 1 record is stored under another id (first: partition 0, offset 7)'],
    ],
  ])('tells of %s', (_name, acked, rows, letters, problems) => {
    expect(compareTopic('events', acked, rows, letters).problems).toEqual(problems);
  });

  test('counts what is doubled, rows and dead letters alike', () => {
    const acked = [record(1), record(2, { expect: 'schema' })];

    expect(
      compareTopic('events', acked, [row(1), row(1), row(1)], [letter(2, 'schema'), letter(2, 'schema')]),
    ).toMatchObject({ stored: 1, duplicates: 3, deadLetters: 2 });
  });

  test("leaves alone what is not the run's", () => {
    expect(compareTopic('events', [record(1)], [row(1), row(99)], [letter(98, 'schema')])).toMatchObject({
      stored: 1,
      deadLetters: 0,
      problems: [],
    });
  });
});

describe('percentile', () => {
  test.each([
    [[], 0.5, null],
    [[5], 0.99, 5],
    [[3, 1, 2], 0.5, 2],
    [Array.from({ length: 100 }, (_, index) => index + 1), 0.99, 99],
    [Array.from({ length: 100 }, (_, index) => index + 1), 0.5, 50],
    [[100, 20, 3], 1, 100],
  ])('of %j at %d is %j', (values, share, expected) => {
    expect(percentile(values, share)).toBe(expected);
  });
});
