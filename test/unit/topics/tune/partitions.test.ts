import { assert, constantFrom, double, integer, property } from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { TopicConfig } from '../../../../src/lib/config/schema.ts';
import { parseByteRate } from '../../../../src/lib/config/units.ts';
import type { Advice } from '../../../../src/lib/topics/tune/advice.ts';
import type { PartitionsQuestion } from '../../../../src/lib/topics/tune/partition-terms.ts';
import { partitionsAdvice } from '../../../../src/lib/topics/tune/partitions.ts';
import { idle, measure, reader, spec } from './fixtures.ts';

const consumers = (count: number): TopicConfig['partitions'] => ({ basis: 'consumers', consumers: count });

function advise(over: Partial<PartitionsQuestion> = {}): Advice {
  return partitionsAdvice({
    spec: spec(),
    declared: consumers(6),
    measure: measure(),
    headroom: 1.5,
    perPartitionBytesPerSec: null,
    ...over,
  });
}

const value = ({ evidence }: Advice, what: string): readonly unknown[] =>
  evidence.filter((each) => each.what === what).map((each) => each.value);

describe('more partitions', () => {
  test('peak × headroom ÷ what a consumer reads, when the consumers are at their limit', () => {
    // 1,000/s × 1.5 ÷ (400/s ÷ 2 members) = 7.5
    const advice = advise({
      measure: measure({
        readers: [reader({ members: 2, recordsPerSec: 400, leastLagRecords: 5000, saturated: true })],
      }),
    });
    expect(advice).toMatchObject({
      verdict: 'change',
      edits: [{ path: ['topics', 'events', 'partitions', 'consumers'], from: 6, to: 8 }],
      commands: ['kpipe topics plan --topic events', 'kpipe topics apply --topic events'],
    });
    expect(advice.summary).toBe('6 → 8: role events reads 200 records/s a consumer, and 1k × 1.5 come in');
    expect(advice.costs).toEqual([
      'keyed topic: key → partition mapping changes for new records; records of a key that are still unread may be applied out of order',
      'a rebalance of kpipe-events',
      '6 more replicas on the brokers',
      'cannot be taken back',
    ]);
    expect(value(advice, 'needed for role events')).toEqual([8]);
  });

  test('a consumer that keeps up has shown no limit: nothing follows from its rate', () => {
    const advice = advise({ measure: measure({ readers: [reader({ members: 2, recordsPerSec: 400 })] }) });
    expect(advice.verdict).not.toBe('change');
    expect(value(advice, 'needed for role events')).toEqual([null]);
  });

  test('peak in ÷ what a partition carries, by the declared capacity', () => {
    // 95 MB/s ÷ 10 MB/s = 9.5
    const advice = advise({
      spec: spec({ name: 'logs', partitions: { count: 4, basis: '', atLeast: false }, keyed: false }),
      declared: { basis: 'throughput', target: 40_000_000, perPartition: 10_000_000 },
      measure: measure({ partitions: 4, peakBytesPerSec: 95_000_000, busiestPartitionBytesPerSec: 9_000_000 }),
    });
    // The target that gives 10 partitions; 142.5 MB/s with headroom would give 15.
    expect(advice.edits).toEqual([{ path: ['topics', 'logs', 'partitions', 'target'], from: '40MB/s', to: '100MB/s' }]);
    expect(advice.summary).toBe('4 → 10: 95 MB/s come in, and a partition carries 10 MB/s');
    expect(advice.costs).not.toContainEqual(expect.stringContaining('keyed'));
  });

  test('a partition that carried more than is declared counts with what it carried', () => {
    // 95 MB/s ÷ 25 MB/s = 3.8
    const advice = advise({
      spec: spec({ partitions: { count: 4, basis: '', atLeast: false } }),
      declared: { basis: 'throughput', target: 40_000_000, perPartition: 10_000_000 },
      measure: measure({ partitions: 4, peakBytesPerSec: 95_000_000, busiestPartitionBytesPerSec: 25_000_000 }),
    });
    expect(value(advice, 'needed for what comes in')).toEqual([4]);
    expect(advice.verdict).toBe('keep');
  });

  test('--per-partition stands for the capacity of any basis', () => {
    // 100 kB/s ÷ 10 kB/s, and a partition carried 9 kB/s
    const advice = advise({
      perPartitionBytesPerSec: 10_000,
      declared: { count: 6 },
      measure: measure({ busiestPartitionBytesPerSec: 9000 }),
    });
    expect(advice.edits).toEqual([{ path: ['topics', 'events', 'partitions', 'count'], from: 6, to: 10 }]);
  });

  test('a benchmark against the declared capacity: what differs is written', () => {
    // 38 MB/s ÷ 5 MB/s = 7.6; 57 MB/s with headroom would be 12
    const advice = advise({
      spec: spec({ partitions: { count: 4, basis: '', atLeast: false } }),
      declared: { basis: 'throughput', target: 40_000_000, perPartition: 10_000_000 },
      perPartitionBytesPerSec: 5_000_000,
      measure: measure({ partitions: 4, peakBytesPerSec: 38_000_000, busiestPartitionBytesPerSec: 4_000_000 }),
    });
    expect(advice.edits).toEqual([
      { path: ['topics', 'events', 'partitions', 'perPartition'], from: '10MB/s', to: '5MB/s' },
    ]);
  });

  test('members beyond the partitions are certain, even when nothing flows', () => {
    const advice = advise({ measure: measure({ ...idle, readers: [reader({ members: 9, recordsPerSec: 0 })] }) });
    expect(advice).toMatchObject({ verdict: 'change', confidence: 'certain', edits: [{ to: 9 }] });
    expect(advice.summary).toBe('6 → 9: 9 consumers read it: those beyond the partitions have nothing to do');
  });

  test('a busy hour of the log is a peak, too', () => {
    const history = { spanMs: 86_400_000, stepMs: 3_600_000, meanRecordsPerSec: 500, peakRecordsPerSec: 3000 };
    const advice = advise({
      measure: measure({
        history,
        readers: [reader({ members: 1, recordsPerSec: 500, leastLagRecords: 9000, saturated: true })],
      }),
    });
    // 3,000 × 1.5 ÷ 500
    expect(advice).toMatchObject({ verdict: 'change', confidence: 'good', edits: [{ to: 9 }] });
  });

  test('a consumer that hardly reads asks for no thousands of partitions', () => {
    const advice = advise({
      measure: measure({ readers: [reader({ recordsPerSec: 0.5, leastLagRecords: 9000, saturated: true })] }),
    });
    expect(advice).toMatchObject({ verdict: 'notice', edits: [] });
    expect(advice.summary).toBe('3k partitions would be needed: make the consumers faster instead');
  });
});

describe('no more partitions', () => {
  test('idle: no number is made up', () => {
    const advice = advise({ measure: measure({ ...idle, readers: [reader({ recordsPerSec: 0 })] }) });
    expect(advice).toMatchObject({ verdict: 'unknown', confidence: 'none', edits: [] });
    expect(advice.confidenceReason).toBe('nothing came in during 1m');
    expect(value(advice, 'peak in')).toEqual([null, null]);
  });

  test('nobody read: it is said, and nothing follows', () => {
    const advice = advise({ measure: measure({ readers: [reader({ members: 0, recordsPerSec: null })] }) });
    expect(advice).toMatchObject({ verdict: 'unknown', edits: [] });
    expect(advice.summary).toBe('6 took in the peak of 100 kB/s; whether they suffice to read it is not known');
  });

  test('over-partitioned is said where all of it is known, and no edit takes partitions away', () => {
    // 12 are there. In: 100 kB/s × 1.5 ÷ 40 kB/s = 3.75; reading: 1,000 × 1.5 ÷ 1,000 = 1.5; two consumers
    const advice = advise({
      spec: spec({ partitions: { count: 12, basis: 'count', atLeast: false } }),
      declared: { count: 12 },
      measure: measure({
        partitions: 12,
        busiestPartitionBytesPerSec: 40_000,
        readers: [reader({ members: 2, recordsPerSec: 2000 })],
      }),
    });
    expect(advice).toMatchObject({ verdict: 'notice', edits: [] });
    expect(advice.summary).toContain('over-partitioned: 12 where 4 would do');
  });

  test('as many as are declared consumers are not too many', () => {
    const advice = advise({
      spec: spec({ partitions: { count: 12, basis: '12 consumers', atLeast: false } }),
      declared: consumers(12),
      measure: measure({ partitions: 12, busiestPartitionBytesPerSec: 100_000 }),
    });
    expect(advice.verdict).toBe('keep');
  });

  test('a short look is told as one', () => {
    const advice = advise({ measure: measure({ watchedMs: 3000 }) });
    expect(advice).toMatchObject({ confidence: 'low', confidenceReason: '3s are too short a look' });
  });
});

test('whatever was measured: an edit is above what is there, whole, and follows from the declared basis', () => {
  const rates = double({ min: -1e9, max: 1e9, noNaN: true });
  assert(
    property(
      integer({ min: 1, max: 50 }),
      rates,
      rates,
      integer({ min: 0, max: 60 }),
      constantFrom(1, 1.5, 10),
      integer({ min: 1000, max: 20_000_000 }),
      (count, inBytes, reading, members, headroom, perPartition) => {
        const target = count * perPartition;
        const declared = { basis: 'throughput', target, perPartition } as const;
        const { verdict, edits } = advise({
          spec: spec({ partitions: { count, basis: '', atLeast: false } }),
          declared,
          headroom,
          measure: measure({
            partitions: count,
            peakRecordsPerSec: inBytes / 100,
            peakBytesPerSec: inBytes,
            busiestPartitionBytesPerSec: inBytes / count,
            readers: [reader({ members, recordsPerSec: reading, saturated: reading > 0 })],
          }),
        });
        expect(edits.length).toBe(verdict === 'change' ? 1 : 0);
        for (const { to } of edits) {
          const wanted = Math.ceil((parseByteRate(String(to)) ?? 0) / perPartition);
          expect(wanted).toBeGreaterThan(count);
          expect(wanted).toBeLessThanOrEqual(1000);
        }
      },
    ),
  );
});
