import { describe, expect, test } from 'vitest';

import type { Advice } from '../../../../src/lib/topics/tune/advice.ts';
import { retentionAdvice, type DiskRoom, type RetentionQuestion } from '../../../../src/lib/topics/tune/retention.ts';
import { batches, dayMs, idle, measure, spec } from './fixtures.ts';

const giga = 1e9;
const disk: DiskRoom = {
  totalBytes: 1000 * giga,
  usableBytes: 650 * giga,
  usedPercent: 85,
  fullInMs: null,
  fullHow: 'never',
};

function advise(over: Partial<RetentionQuestion> = {}): Advice {
  return retentionAdvice({
    spec: spec({ config: { 'retention.ms': String(30 * dayMs) } }),
    declared: { retention: 30 * dayMs, config: {} },
    measure: measure({ bytesPerSec: 100_000 }),
    disk,
    ...over,
  });
}

test('it fits: the equation, with what the disks leave below the alarm', () => {
  // 30 d × 86,400 s × 100 kB/s × 3 = 777.6 GB; 650 − 150 reserved + 300 that it has = 800
  const advice = advise({ measure: measure({ diskBytes: 300 * giga }) });
  expect(advice).toMatchObject({ verdict: 'keep', edits: [] });
  expect(advice.summary).toBe('30d at 100 kB/s × 3 = 778 GB of 800 GB that the disks leave it');
});

test('it does not fit: how long it lasts, and what would', () => {
  // Of 500 GB nothing is used: 500e9 ÷ 300 kB/s = 1,666,667 s = 19.3 d
  const advice = advise();
  expect(advice).toMatchObject({
    verdict: 'change',
    edits: [{ path: ['topics', 'events', 'retention'], from: '30d', to: '19d' }],
    commands: ['kpipe topics plan --topic events', 'kpipe topics apply --topic events'],
  });
  expect(advice.summary).toBe('30d at 100 kB/s × 3 = 778 GB of 500 GB that the disks leave it; full in 19d6h: 19d fit');
  expect(advice.costs).toEqual(['records older than 19d expire: plan says how many, and who has not read them']);
});

test('who declares milliseconds gets milliseconds', () => {
  const advice = advise({ declared: { config: { 'retention.ms': String(30 * dayMs) } } });
  expect(advice.edits).toEqual([
    { path: ['topics', 'events', 'config', 'retention.ms'], from: 30 * dayMs, to: 19 * dayMs },
  ]);
});

test('what nobody declares is added', () => {
  const advice = advise({ spec: spec(), declared: { config: {} }, measure: measure({ retentionMs: 30 * dayMs }) });
  expect(advice.edits).toEqual([{ path: ['topics', 'events', 'retention'], from: null, to: '19d' }]);
});

test('below two days hours are whole; below an hour nothing is proposed', () => {
  // 10 MB/s × 3: 500e9 ÷ 30e6 = 16,667 s = 4.6 h; at 1 GB/s 166 s
  expect(advise({ measure: measure({ bytesPerSec: 1e7 }) }).edits).toMatchObject([{ to: '4h' }]);
  expect(advise({ measure: measure({ bytesPerSec: giga }) })).toMatchObject({ verdict: 'notice', edits: [] });
  expect(advise({ disk: { ...disk, usableBytes: 0 } })).toMatchObject({ verdict: 'notice', edits: [] });
});

test('hours of the log say more than a minute', () => {
  // 1,000 records/s over the day, of 100 B each
  const history = { spanMs: dayMs, stepMs: 3_600_000, meanRecordsPerSec: 1000, peakRecordsPerSec: 5000 };
  const advice = advise({ measure: measure({ bytesPerSec: 9e9, history }) });
  expect(advice.summary).toContain('at 100 kB/s × 3');
  expect(advice.evidence[0]).toEqual({
    what: 'mean in',
    value: 100_000,
    unit: 'B/s',
    how: 'the mean of 1d: offsets at times × 100 B a record',
  });
});

test('a size limit holds it, too', () => {
  // 6 partitions × 1 GB × 3
  const advice = advise({ measure: measure({ retentionBytes: giga }) });
  expect(advice).toMatchObject({ verdict: 'keep' });
  expect(advice.summary).toContain('= 18 GB of 500 GB');
});

test('unlimited: when the disks are full, and no retention is made up', () => {
  const advice = advise({
    spec: spec({ config: { 'retention.ms': '-1' } }),
    declared: { retention: 'unlimited', config: {} },
  });
  expect(advice).toMatchObject({ verdict: 'notice', edits: [] });
  expect(advice.summary).toBe('unlimited at 100 kB/s × 3: 500 GB that the disks leave it are full in 19d6h');
});

describe('not judged', () => {
  test.each([
    ['idle', { measure: measure({ ...idle }) }, 'nothing came in during 1m'],
    ['negative', { measure: measure({ bytesPerSec: -5 }) }, /too short|busiest hour/],
    ['disks that do not tell', { disk: null }, 'the brokers do not tell the size of their disks'],
    ['retention not known', { spec: spec(), measure: measure({ retentionMs: null }) }, 'the retention is not known'],
    ['no batch', { measure: measure({ bytesPerSec: null, batches: null }) }, expect.any(String)],
  ] as const)('%s', (_name, over, reason) => {
    const advice = advise(over);
    expect(advice).toMatchObject({ verdict: 'unknown', confidence: 'none', edits: [] });
    expect(advice.confidenceReason).toEqual(reason instanceof RegExp ? expect.stringMatching(reason) : reason);
  });

  test('compacted: time does not hold it', () => {
    expect(advise({ measure: measure({ compacted: true, batches: batches() }) })).toMatchObject({
      verdict: 'keep',
      summary: 'compacted: its size follows from its keys, not from time',
    });
  });
});
