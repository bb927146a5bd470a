import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  changeOf,
  createChangeEncoder,
  lastChanges,
  type RowChanges,
} from '../../../src/lib/postgres/encoded-changes.ts';
import type { ProjectionChange } from '../../../src/lib/records/projection.ts';

const keyLengths = [2, 1];
const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'a', '"', '\u0000', 'é', '🦄', 'a","b'));
const changeFor = (projection: number, key: fc.Arbitrary<string>) =>
  fc.record({
    projection: fc.constant(projection),
    kind: fc.constantFrom('upsert' as const, 'delete' as const),
    key: fc.array(key, { minLength: keyLengths[projection]!, maxLength: keyLengths[projection]! }),
    columns: fc.array(fc.option(text), { maxLength: 4 }),
  });

/** Rows in offset order, each with its changes. */
function rowsOf(made: readonly (readonly Omit<ProjectionChange, 'offset'>[])[]): {
  readonly rows: readonly RowChanges[];
  readonly changes: readonly ProjectionChange[];
} {
  const encode = createChangeEncoder();
  const changes = made.map((ofRow, index) => ofRow.map((change) => ({ ...change, offset: BigInt(index) })));
  return {
    rows: changes.map((ofRow, index) => ({ offset: BigInt(index), changes: encode(BigInt(index), ofRow) })),
    changes: changes.flat(),
  };
}

describe('encoded changes', () => {
  test('are what they were, whatever their texts, and whichever chunk of memory they stand in', () => {
    const large = fc.constant('x'.repeat(100_000));
    fc.assert(
      fc.property(fc.array(changeFor(0, fc.oneof(text, large))), (made) => {
        // One projection a row and no repeated key: none replaces another.
        const distinct = made.map((change, index) => [{ ...change, key: [String(index), change.key[1] ?? ''] }]);
        const { rows, changes } = rowsOf(distinct);
        expect(lastChanges(rows, keyLengths).map(changeOf)).toEqual(changes);
      }),
    );
  });

  test('of a record without any are null', () => {
    expect(createChangeEncoder()(1n, [])).toBe(null);
  });

  test('to one key leave the last: what a naive replay of the batch ends with', () => {
    const key = fc.constantFrom('a', 'b', '"', ',', 'a","b', '', '\u0000\u0000');
    const change = fc.oneof(changeFor(0, key), changeFor(1, key));
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 3 })), (made) => {
        const { rows, changes } = rowsOf(made);
        const same = (left: ProjectionChange, right: ProjectionChange): boolean =>
          left.projection === right.projection && left.key.every((part, index) => part === right.key[index]);
        const expected = changes.filter((one, index) => !changes.slice(index + 1).some((other) => same(one, other)));
        const told = lastChanges(rows, keyLengths).map(changeOf);
        expect(told).toHaveLength(expected.length);
        expect(told).toEqual(expect.arrayContaining(expected));
      }),
    );
  });
});
