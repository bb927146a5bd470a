import fc from 'fast-check';
import { expect, test } from 'vitest';

import { identityOf, readDeadLetter } from '../../../src/lib/dlq/dead-letter.ts';
import { PurgePlanner } from '../../../src/lib/dlq/purge-plan.ts';
import type { RecordHeader, SourceRecord } from '../../../src/lib/ports.ts';
import { deadLetterRecord } from '../../../src/lib/records/dead-letter.ts';

/** L2: a letter of source offset 2. M2: its marker. F: foreign. A letter matches when its source offset is even. */
type Entry = `L${number}` | `M${number}` | 'F';

function recordOf(entry: Entry, offset: number): SourceRecord {
  const base = { offset: BigInt(offset), timestampMs: 0, key: null, value: null };
  if (entry === 'F') {
    return { ...base, headers: [] };
  }
  const source = BigInt(entry.slice(1));
  const { headers = [] } = deadLetterRecord(
    { offset: source, timestampMs: 1, key: null, value: null, headers: [] },
    { topic: 'events', partition: 0 },
    'events',
    { reason: 'schema', message: '', stage: 'decode', attempts: 1, failedAtMs: 0 },
  );
  const letter = readDeadLetter({ topic: 'd', partition: 0 }, { ...base, headers });
  if (letter.kind !== 'letter') {
    throw new Error('no letter');
  }
  const marker: RecordHeader = ['kpipe.redriven', Buffer.from(identityOf(letter.letter))];
  return { ...base, headers: entry.startsWith('L') ? headers : [marker] };
}

function plan(logs: readonly (readonly Entry[])[], foreignMatches = false) {
  const planner = new PurgePlanner({
    matches: ({ source }) => source.offset % 2n === 0n,
    matchesForeign: () => foreignMatches,
  });
  for (const [partition, log] of logs.entries()) {
    for (const [offset, entry] of log.entries()) {
      planner.add({ topic: 'd', partition }, recordOf(entry, offset));
    }
  }
  const ends = logs.map(({ length }, partition) => ({ topic: 'd', partition, from: 0n, to: BigInt(length) }));
  const { cuts, loss } = planner.plan(ends);
  return { cuts: cuts.map(({ to }) => Number(to)), loss };
}

test.each<[string, readonly (readonly Entry[])[], readonly number[], object]>([
  ['everything matches', [['L0', 'L2']], [2], { dead: 2, behind: 0 }],
  ['up to the first that does not', [['L0', 'L1', 'L2']], [1], { dead: 1, behind: 1 }],
  ['what was redriven stands in nobody’s way', [['L0', 'L1', 'L2', 'M1']], [4], { dead: 2, redriven: 1, behind: 0 }],
  ['a foreign record stays', [['L0', 'F', 'L2']], [1], { dead: 1, behind: 1, foreign: 0 }],
  [
    'a letter that was redriven goes before its marker',
    [
      ['L3', 'M1'],
      ['L1', 'L5'],
    ],
    [0, 1],
    { redriven: 1 },
  ],
  ['a marker goes with its letter', [['L1', 'M1', 'L3']], [2], { redriven: 1, dead: 0 }],
  ['a marker whose letter is gone goes', [['M7', 'L0']], [2], { dead: 1 }],
  [
    'a copy that stays keeps the marker, and the marker what is behind it',
    [
      ['M1', 'L0'],
      ['L3', 'L1'],
    ],
    [0, 0],
    { dead: 0, behind: 1 },
  ],
  ['a copy elsewhere keeps a letter from being lost', [['L0'], ['L3', 'L0']], [1, 0], { dead: 0, behind: 1 }],
])('%s', (_name, logs, cuts, loss) => {
  const planned = plan(logs);
  expect(planned.cuts).toEqual(cuts);
  expect(planned.loss).toMatchObject(loss);
});

test('foreign records go only when they are meant', () => {
  expect(plan([['F', 'L0', 'F']], true)).toMatchObject({ cuts: [3], loss: { foreign: 2, dead: 1 } });
});

test(
  'whatever lies there: no letter that is not meant and not redriven goes, and none that stays comes to count as dead',
  { timeout: 60_000 },
  () => {
    const entry: fc.Arbitrary<Entry> = fc.oneof(
      fc.integer({ min: 0, max: 5 }).map((n): Entry => `L${n}`),
      fc.integer({ min: 0, max: 5 }).map((n): Entry => `M${n}`),
      fc.constant<Entry>('F'),
    );
    fc.assert(
      fc.property(fc.array(fc.array(entry, { maxLength: 10 }), { minLength: 1, maxLength: 3 }), (logs) => {
        const { cuts, loss } = plan(logs);
        const redriven = new Set(
          logs
            .flat()
            .filter((each) => each.startsWith('M'))
            .map((each) => each.slice(1)),
        );
        const kept = logs.map((log, partition) => log.slice(cuts[partition]));
        const keptMarkers = new Set(
          kept
            .flat()
            .filter((each) => each.startsWith('M'))
            .map((each) => each.slice(1)),
        );
        const keptLetters = new Set(
          kept
            .flat()
            .filter((each) => each.startsWith('L'))
            .map((each) => each.slice(1)),
        );
        let lost = 0;
        for (const letter of new Set(
          logs
            .flat()
            .filter((each) => each.startsWith('L'))
            .map((each) => each.slice(1)),
        )) {
          if (!keptLetters.has(letter) && !redriven.has(letter)) {
            expect(Number(letter) % 2).toBe(0);
            lost += 1;
          }
          if (keptLetters.has(letter) && redriven.has(letter)) {
            expect(keptMarkers.has(letter)).toBe(true);
          }
        }
        expect(loss.dead).toBe(lost);
        expect(logs.flatMap((log, partition) => log.slice(0, cuts[partition])).includes('F')).toBe(false);
      }),
      { numRuns: 500 },
    );
  },
);
