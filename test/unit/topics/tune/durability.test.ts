import { describe, expect, test } from 'vitest';

import type { Advice } from '../../../../src/lib/topics/tune/advice.ts';
import { durabilityAdvice } from '../../../../src/lib/topics/tune/durability.ts';
import { measure, spec } from './fixtures.ts';

const key = 'min.insync.replicas';

interface Case {
  readonly replicas: number;
  /** null: not declared. */
  readonly inSync: number | null;
  readonly brokers?: number;
  readonly inEffect?: number | null;
}

function advise({ replicas, inSync, brokers = 3, inEffect = 1 }: Case): Advice {
  const config: Record<string, string> = inSync === null ? {} : { [key]: String(inSync) };
  return durabilityAdvice({
    spec: spec({ replicationFactor: replicas, config }),
    declared: { replicationFactor: replicas, config },
    measure: measure({ replicationFactor: replicas, minInsyncReplicas: inSync ?? inEffect }),
    brokers,
  });
}

describe('three replicas, two in sync', () => {
  test.each([
    [{ replicas: 3, inSync: 2 }, 'keep', [], '3 replicas, 2 of them in sync for a write'],
    [{ replicas: 3, inSync: null, inEffect: 2 }, 'keep', [], '3 replicas, 2 of them in sync for a write'],
    [{ replicas: 5, inSync: 3, brokers: 5 }, 'keep', [], '5 replicas, 3 of them in sync for a write'],
    [
      { replicas: 3, inSync: 3 },
      'change',
      [{ path: ['topics', 'events', 'config', key], from: 3, to: 2 }],
      'min.insync.replicas 3 of 3: a single broker that restarts stops every write',
    ],
    [
      { replicas: 3, inSync: null },
      'change',
      [{ path: ['topics', 'events', 'config', key], from: null, to: 2 }],
      'min.insync.replicas 1: an acked record may be on one broker only',
    ],
    [
      { replicas: 1, inSync: 1 },
      'change',
      [
        { path: ['topics', 'events', 'replicationFactor'], from: 1, to: 3 },
        { path: ['topics', 'events', 'config', key], from: 1, to: 2 },
      ],
      '1 replica: a broker that goes takes its partitions with it; min.insync.replicas 1: an acked record may be on one broker only',
    ],
    [
      { replicas: 2, inSync: 2 },
      'change',
      [{ path: ['topics', 'events', 'replicationFactor'], from: 2, to: 3 }],
      '2 replicas: one broker down leaves a single copy',
    ],
  ] as const)('%o', (given, verdict, edits, summary) => {
    const advice = advise(given);
    expect([advice.verdict, advice.edits, advice.summary]).toEqual([verdict, edits, summary]);
    expect(advice).toMatchObject({ confidence: 'certain', confidenceReason: null });
  });
});

test('what more replicas cost is said', () => {
  expect(advise({ replicas: 1, inSync: 1 }).costs).toEqual([
    '2 more replicas of each partition on disk, copied by a throttled move',
    'writes are refused while fewer than 2 replicas are in sync',
  ]);
});

test('no more than the brokers can hold', () => {
  const alone = advise({ replicas: 1, inSync: 1, brokers: 1 });
  expect(alone).toMatchObject({ verdict: 'notice', edits: [] });
  expect(alone.summary).toBe(
    '1 replica: a broker that goes takes its partitions with it; no more are possible with 1 broker up',
  );
  expect(advise({ replicas: 1, inSync: 1, brokers: 2 })).toMatchObject({
    verdict: 'change',
    edits: [{ path: ['topics', 'events', 'replicationFactor'], from: 1, to: 2 }],
  });
});
