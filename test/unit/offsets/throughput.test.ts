import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { calculateThroughput, type PartitionLook, type ThroughputLook } from '../../../src/lib/offsets/throughput.ts';

const at = (partition: number, end: bigint | null, over: Partial<PartitionLook> = {}): PartitionLook => ({
  topic: 'events',
  partition,
  leader: 1,
  highWatermark: end,
  bytes: null,
  ...over,
});
const look = (
  atMs: number,
  partitions: readonly PartitionLook[],
  groups: ThroughputLook['groups'] = [],
): ThroughputLook => ({
  atMs,
  partitions,
  groups,
});
const moved = (before: readonly PartitionLook[], now: readonly PartitionLook[]) =>
  calculateThroughput('c', look(0, before), look(2000, now)).topics[0];

describe('calculateThroughput', () => {
  test('records and bytes a second, by partition and in sum', () => {
    expect(
      moved(
        [at(0, 100n, { bytes: 1000 }), at(1, 0n, { bytes: 0 })],
        [at(0, 140n, { bytes: 5000 }), at(1, 20n, { bytes: 0 })],
      ),
    ).toEqual({
      topic: 'events',
      recordsPerSec: 30,
      bytesPerSec: 2000,
      skew: 1.33,
      hot: [],
      partitions: [
        { partition: 0, leader: 1, recordsPerSec: 20, bytesPerSec: 2000 },
        { partition: 1, leader: 1, recordsPerSec: 10, bytesPerSec: 0 },
      ],
    });
  });

  test('a partition with twice its share is hot, where that is no chance', () => {
    const none = [at(0, 0n), at(1, 0n), at(2, 0n)];
    expect(moved(none, [at(0, 90n), at(1, 5n), at(2, 5n)])).toMatchObject({ hot: [0], skew: 2.7 });
    expect(moved(none, [at(0, 9n), at(1, 0n), at(2, 0n)])).toMatchObject({ hot: [], skew: 3 });
    expect(moved([at(0, 0n)], [at(0, 900n)])).toMatchObject({ hot: [], skew: 1 });
  });

  test.each<
    [string, PartitionLook | undefined, PartitionLook, { recordsPerSec: number | null; bytesPerSec: number | null }]
  >([
    ['not seen before', undefined, at(0, 5n, { bytes: 5 }), { recordsPerSec: null, bytesPerSec: null }],
    ['its end not known', at(0, null), at(0, 5n), { recordsPerSec: null, bytesPerSec: null }],
    ['records deleted', at(0, 4n, { bytes: 50 }), at(0, 6n, { bytes: 5 }), { recordsPerSec: 1, bytesPerSec: null }],
    ['made again', at(0, 9n), at(0, 1n), { recordsPerSec: null, bytesPerSec: null }],
    [
      'another leader',
      at(0, 4n, { bytes: 5 }),
      at(0, 6n, { bytes: 50, leader: 2 }),
      { recordsPerSec: 1, bytesPerSec: null },
    ],
    ['idle', at(0, 4n, { bytes: 5 }), at(0, 4n, { bytes: 5 }), { recordsPerSec: 0, bytesPerSec: 0 }],
  ])('%s', (_, before, now, expected) => {
    expect(moved(before === undefined ? [] : [before], [now])?.partitions[0]).toMatchObject(expected);
  });

  test('one partition that is not known leaves the sum of the others, and no skew', () => {
    expect(moved([at(0, 0n), at(1, null)], [at(0, 40n), at(1, 40n)])).toMatchObject({ recordsPerSec: 20, skew: null });
  });

  test('groups by topic; a group that was reset back has no rate', () => {
    const stands = (position: bigint | null, topic = 'events') => ({ group: 'g', topic, partition: 0, position });
    const { groups } = calculateThroughput(
      'c',
      look(0, [], [stands(10n), stands(10n, 'logs')]),
      look(1000, [], [stands(60n), stands(3n, 'logs')]),
    );
    expect(groups).toEqual([
      { group: 'g', topic: 'events', recordsPerSec: 50 },
      { group: 'g', topic: 'logs', recordsPerSec: null },
    ]);
  });

  test('two looks at one instant tell nothing', () => {
    expect(calculateThroughput('c', look(5, [at(0, 1n)]), look(5, [at(0, 2n)])).topics[0]?.recordsPerSec).toBeNull();
  });

  test('the sum of the partitions is the topic, and skew lies between 1 and their number', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10_000), { minLength: 1, maxLength: 12 }), (written) => {
        const topic = moved(
          written.map((_, partition) => at(partition, 0n)),
          written.map((records, partition) => at(partition, BigInt(records))),
        );
        const total = written.reduce((sum, records) => sum + records, 0) / 2;
        expect(topic?.recordsPerSec).toBeCloseTo(total, 1);
        if (total > 0) {
          expect(topic?.skew).toBeGreaterThanOrEqual(1);
          expect(topic?.skew).toBeLessThanOrEqual(written.length);
        }
      }),
    );
  });
});
