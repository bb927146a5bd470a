import { expect, test } from 'vitest';

import type { Advice } from '../../../../src/lib/topics/tune/advice.ts';
import { sinkAdvice, type SinkQuestion } from '../../../../src/lib/topics/tune/sink.ts';
import { batches, idle, measure } from './fixtures.ts';

const batch = { maxRows: 50_000, maxBytes: 8_000_000, maxWait: 5000 };

function advise(over: Partial<SinkQuestion> = {}): Advice {
  return sinkAdvice({ measure: measure(), batch, write: 'storage', fullRequestBytes: 1_000_000, ...over });
}

/** So much comes in on each of the six partitions; records are of 100 B. */
const each = (bytesPerSec: number) => measure({ recordsPerSec: (bytesPerSec * 6) / 100 });

test('a partition fills a request within the wait', () => {
  // 300 kB/s × 5 s
  const advice = advise({ measure: each(300_000) });
  expect(advice).toMatchObject({ verdict: 'keep', edits: [] });
  expect(advice.summary).toBe('a batch of a partition closes with about 15k rows, 1.5 MB: requests of 1 MB are filled');
});

test('a longer wait would fill it: how long, and what it costs', () => {
  // 1 MB ÷ 60 kB/s = 16.7 s
  const advice = advise({ measure: each(60_000) });
  expect(advice.edits).toEqual([{ path: ['roles', 'analytics', 'batch', 'maxWait'], from: '5s', to: '17s' }]);
  expect(advice.costs[0]).toBe('rows are in BigQuery up to 17s after they came, now 5s');
});

test('rows are as large as before compression', () => {
  // Stored 100 B, unpacked 400 B: 75 kB/s stored are 300 kB/s
  const sample = batches({ unpackedBytesPerBatch: 4000 });
  expect(advise({ measure: { ...each(75_000), batches: sample } }).verdict).toBe('keep');
});

test('so little that no wait is worth it: how many partitions would do', () => {
  // 6 × 10 kB/s × 60 s = 3.6 MB
  const advice = advise({ measure: each(10_000) });
  expect(advice).toMatchObject({ verdict: 'notice', edits: [] });
  expect(advice.summary).toContain('1 MB take 1m40s');
  expect(advice.summary).toContain('3 partitions would fill them within 1m');
  expect(advise({ measure: each(100) }).summary).toContain('not even a single partition would');
});

test('maxRows or maxBytes below a request', () => {
  expect(advise({ measure: each(900_000), batch: { ...batch, maxRows: 5000 } }).edits).toEqual([
    { path: ['roles', 'analytics', 'batch', 'maxRows'], from: 5000, to: 10_000 },
  ]);
  expect(advise({ measure: each(900_000), batch: { ...batch, maxBytes: 400_000 } }).edits).toEqual([
    { path: ['roles', 'analytics', 'batch', 'maxBytes'], from: 400_000, to: 1_000_000 },
  ]);
});

test('load jobs gather all partitions', () => {
  expect(advise({ measure: each(10), write: 'load' })).toMatchObject({ verdict: 'keep', edits: [] });
});

test('idle, or no batch to know a record’s size from: not judged', () => {
  expect(advise({ measure: measure({ ...idle }) })).toMatchObject({ verdict: 'unknown', confidence: 'none' });
  expect(advise({ measure: measure({ batches: null }) })).toMatchObject({ verdict: 'unknown', confidence: 'none' });
  expect(advise({ measure: measure({ recordsPerSec: -4 }) })).toMatchObject({ verdict: 'unknown' });
});
