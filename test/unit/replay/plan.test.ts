import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { PartitionSituation, ReplayObservation } from '../../../src/lib/replay/observation.ts';
import { planReplay, type ResolvedTarget } from '../../../src/lib/replay/plan.ts';
import type { PartitionPlan, ReplayPlan } from '../../../src/lib/replay/replay-plan.ts';

const base: PartitionSituation = {
  topic: 'events',
  partition: 0,
  position: 100n,
  epoch: 3n,
  committedOffset: 100n,
  openIntentTo: null,
  recreated: false,
  replayId: null,
  logStartOffset: 20n,
  highWatermark: 120n,
  logBytes: 50_000n,
};

function seen(
  partitions: readonly Partial<PartitionSituation>[],
  over: Partial<ReplayObservation> = {},
): ReplayObservation {
  return {
    observedAtMs: Date.parse('2026-02-14T12:00:00Z'),
    clusterId: 'c',
    role: 'events',
    group: 'g',
    topic: 'events',
    topicId: 't',
    truth: 'postgres',
    protocol: 'classic',
    state: 'Empty',
    members: [],
    partitions: partitions.map((partition, index) => ({ ...base, partition: index, ...partition })),
    rate: { recordsPerSec: 40, basis: 'measured' },
    sizesProblem: null,
    ...over,
  };
}

function planTo(
  target: ResolvedTarget,
  situation: Partial<PartitionSituation> = {},
  options: { readonly clamp?: boolean; readonly over?: Partial<ReplayObservation> } = {},
): { readonly plan: ReplayPlan; readonly partition: PartitionPlan } {
  const plan = planReplay(seen([situation], options.over), new Map([[0, target]]), {
    to: 'x',
    clamp: options.clamp ?? false,
  });
  const [partition] = plan.partitions;
  if (partition === undefined) {
    throw new Error('no partition');
  }
  return { plan, partition };
}

describe('a partition', () => {
  test.each<[string, ResolvedTarget, Partial<PartitionSituation>, Partial<PartitionPlan>]>([
    [
      'back',
      { offset: 60n },
      {},
      { change: 'back', targetOffset: 60n, rereadRecords: 40, skippedRecords: 0, bytes: 20_000 },
    ],
    ['forward', { offset: 110n }, {}, { change: 'forward', rereadRecords: 0, skippedRecords: 10, bytes: 0 }],
    ['nowhere', { offset: 100n }, {}, { change: 'stay', rereadRecords: 0, skippedRecords: 0 }],
    [
      'before the log',
      { offset: 5n },
      {},
      { change: 'back', targetOffset: 20n, clamped: 'start', takenByRetention: 15, rereadRecords: 80 },
    ],
    ['below zero', { offset: -5n }, {}, { targetOffset: 20n, clamped: 'start', takenByRetention: 20 }],
    [
      'behind the log',
      { offset: 500n },
      {},
      { change: 'forward', targetOffset: 120n, clamped: 'end', skippedRecords: 20 },
    ],
    ['before the log, by time', { offset: 20n, beforeLog: true }, {}, { clamped: null, takenByRetention: null }],
    [
      'never read',
      { offset: 50n },
      { position: null, epoch: null },
      { change: 'forward', rereadRecords: 0, skippedRecords: 30 },
    ],
    ['never read, to be forgotten', { offset: null }, { position: null }, { change: 'stay' }],
    ['forgotten', { offset: null }, {}, { change: 'back', targetOffset: null, clamped: null }],
    [
      'empty',
      { offset: 0n },
      { position: 0n, logStartOffset: 0n, highWatermark: 0n, logBytes: 0n },
      { change: 'stay', bytes: 0 },
    ],
    [
      'whose position has expired',
      { offset: 20n },
      { position: 10n },
      { change: 'forward', rereadRecords: 0, skippedRecords: 0 },
    ],
    ['of unknown size', { offset: 60n }, { logBytes: null }, { bytes: null }],
  ])('%s', (_name, target, situation, expected) => {
    expect(planTo(target, situation).partition).toMatchObject(expected);
  });

  test('is planned inside its log, wherever it is asked to go', () => {
    const offset = fc.bigInt({ min: 0n, max: 10_000n });
    fc.assert(
      fc.property(offset, offset, offset, fc.bigInt({ min: -20_000n, max: 20_000n }), (one, other, position, asked) => {
        const [logStartOffset, highWatermark] = one < other ? [one, other] : [other, one];
        const { partition } = planTo({ offset: asked }, { logStartOffset, highWatermark, position });
        const target = partition.targetOffset ?? -1n;
        expect(target >= logStartOffset && target <= highWatermark).toBe(true);
        expect(partition.clamped === null).toBe(asked >= logStartOffset && asked <= highWatermark);
        // What is read again and what is left out never overlap, and fill the way from the position to the target.
        expect(Math.min(partition.rereadRecords, partition.skippedRecords)).toBe(0);
        const from = position < logStartOffset ? logStartOffset : position;
        const way = Number(target - from);
        expect(partition.skippedRecords - partition.rereadRecords).toBe(way);
      }),
    );
  });
});

describe('what is refused', () => {
  test('members, by name', () => {
    const { plan } = planTo({ offset: 60n }, {}, { over: { members: ['app@10.0.0.1'], state: 'Stable' } });
    expect(plan.refusals).toMatchObject([{ kind: 'members', text: 'group g has 1 members: app@10.0.0.1' }]);
  });

  test('an offset that the log does not hold, unless it may be clamped', () => {
    expect(planTo({ offset: 5n }).plan.refusals).toMatchObject([
      { kind: 'outside-log', text: 'outside of the log: partition 0 holds 20 to 120, not 5' },
    ]);
    expect(planTo({ offset: 5n }, {}, { clamp: true }).plan.refusals).toEqual([]);
  });

  test('a position of an earlier topic of the same name', () => {
    expect(planTo({ offset: 60n }, { recreated: true }).plan.refusals).toMatchObject([{ kind: 'recreated' }]);
  });

  test('counting from a position that does not exist', () => {
    const { plan, partition } = planTo({ offset: undefined, note: 'no position' }, { position: null });
    expect(partition).toMatchObject({ change: 'unknown', targetOffset: null });
    expect(plan.refusals).toMatchObject([{ kind: 'no-position' }]);
  });
});

describe('the whole', () => {
  test('sums up, and tells the time at the measured rate', () => {
    const plan = planReplay(
      seen([{}, { position: 40n }, { position: 120n }]),
      new Map([
        [0, { offset: 60n }],
        [1, { offset: 90n }],
      ]),
      { to: '60', clamp: false },
    );
    expect(plan.partitions.map(({ partition }) => partition)).toEqual([0, 1]);
    expect(plan.totals).toEqual({ rereadRecords: 40, skippedRecords: 50, bytes: 20_000, durationMs: 1000 });
    expect(plan.warnings).toEqual(['50 offsets would never be read by this role']);
  });

  test('what is not known is null, with the reason', () => {
    const rate = { recordsPerSec: null, basis: 'too little was measured' };
    const { plan } = planTo({ offset: 60n }, { logBytes: null }, { over: { rate, sizesProblem: 'no right' } });
    expect(plan.totals).toMatchObject({ bytes: null, durationMs: null });
    expect(plan.unknown).toEqual({ bytes: 'no right', durationMs: 'too little was measured' });
  });
});
