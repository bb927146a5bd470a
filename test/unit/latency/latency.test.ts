import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { ProbeLog } from '../../../src/lib/latency/probe-log.ts';
import { probeIndex, probeRecord, probeType } from '../../../src/lib/latency/probe-record.ts';
import { evaluateLatencyFailOn, parseLatencyFailOn, stageLatency } from '../../../src/lib/latency/report.ts';
import { createEventDecoder } from '../../../src/lib/records/event.ts';

describe('stageLatency', () => {
  test('nearest-rank percentiles, the lost, and a histogram without empty ends', () => {
    const latencies = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(stageLatency('ack', latencies, 103)).toEqual({
      stage: 'ack',
      measured: 100,
      lost: 3,
      p50Ms: 50,
      p99Ms: 99,
      maxMs: 100,
      histogram: [
        { upToMs: 1, count: 1 },
        { upToMs: 2, count: 1 },
        { upToMs: 5, count: 3 },
        { upToMs: 10, count: 5 },
        { upToMs: 20, count: 10 },
        { upToMs: 50, count: 30 },
        { upToMs: 100, count: 50 },
      ],
    });
  });

  test('nothing measured is not 0', () => {
    expect(stageLatency('stored', [], 5)).toMatchObject({
      measured: 0,
      lost: 5,
      p50Ms: null,
      maxMs: null,
      histogram: [],
    });
  });

  test('every latency is in one bucket, and percentiles are ordered and were measured', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 30_000, noNaN: true }), { minLength: 1 }), (latencies) => {
        const { histogram, p50Ms, p99Ms, maxMs } = stageLatency('ack', latencies, latencies.length);
        expect(histogram.reduce((sum, { count }) => sum + count, 0)).toBe(latencies.length);
        expect(p50Ms ?? -1).toBeLessThanOrEqual(p99Ms ?? -1);
        expect(p99Ms ?? -1).toBeLessThanOrEqual(maxMs ?? -1);
        expect(latencies.map((ms) => Math.round(ms * 100) / 100)).toContain(p50Ms);
      }),
    );
  });
});

describe('--fail-on of latency', () => {
  const stages = [stageLatency('ack', [5, 10, 100], 3), stageLatency('stored', [], 2)];
  const check = (text: string) => evaluateLatencyFailOn(parseLatencyFailOn(text), { stages });

  test.each([
    ['ack>50ms', [{ condition: 'ack>50ms', actual: '100ms' }]],
    ['ack>100ms', []],
    ['stored>1h', [{ condition: 'stored>1h', actual: 'none arrived' }]],
    ['consume>1ms', []],
    ['lost>1', [{ condition: 'lost>1', actual: '2' }]],
    ['lost>2,ack<1s', [{ condition: 'ack<1s', actual: '100ms' }]],
  ])('%s', (text, failed) => {
    expect(check(text)).toEqual(failed);
  });

  test.each(['', 'ack', 'ack>50', 'lost>1s', 'acks>1s'])('refuses %j', (text) => {
    expect(() => parseLatencyFailOn(text)).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }) as Error);
  });
});

describe('probes', () => {
  test('a role stores one as an event of its type; ids repeat from run to run', () => {
    const decode = createEventDecoder({
      defaultSource: 'x',
      limits: { maxValueBytes: 1000, maxHeaders: 10, maxDepth: 10 },
    });
    const record = probeRecord('run1', 7, 2, Date.UTC(2026, 0, 1));
    const headers = record.headers ?? [];
    const decoded = decode({ ...record, headers, offset: 0n, timestampMs: 0 });
    if (decoded.kind !== 'row') {
      throw new Error(decoded.message);
    }
    const { id, source, type } = decoded.row;
    expect([id, source, type].map(String)).toEqual(['probe-7', 'kpipe', probeType]);
    expect(probeRecord('run2', 7, 2, 0).key).toEqual(record.key);
  });

  test('a record is known by its run', () => {
    const headers = probeRecord('run1', 7, 2, 0).headers ?? [];
    expect(probeIndex('run1', { headers })).toBe(7);
    expect(probeIndex('run', { headers })).toBeNull();
    expect(probeIndex('run1', { headers: [] })).toBeNull();
    expect(probeIndex('run1', { headers: [['kpipe-probe', null]] })).toBeNull();
  });
});

describe('ProbeLog', () => {
  test('a consumer may be told before the producer; a position stores what lies below it', async () => {
    let now = 0;
    const log = new ProbeLog(['ack', 'consume', 'stored'], () => now, 100);
    log.sent(0, 0);
    log.sent(1, 0);
    log.sent(2, 1);
    now = 5;
    log.consumed(0, 10n);
    log.acked(1, 11n);
    now = 8;
    log.stored(0, 11n);
    log.stored(1, 99n);
    now = 9;
    log.acked(0, null);
    log.acked(0, null);
    log.consumed(9, 1n);
    expect(log.isComplete).toBe(false);
    const [ack, consume, stored] = log.latencies();
    expect(ack).toMatchObject({ measured: 2, lost: 1, p50Ms: 5, maxMs: 9 });
    expect(consume).toMatchObject({ measured: 1, maxMs: 5 });
    expect(stored).toMatchObject({ measured: 1, maxMs: 8 });
  });

  test('what comes too late is lost', () => {
    let now = 0;
    const log = new ProbeLog(['ack'], () => now, 100);
    log.sent(0, 0);
    log.sent(1, 0);
    now = 100;
    log.acked(0, 1n);
    now = 101;
    log.acked(1, 2n);
    expect(log.latencies()).toMatchObject([{ measured: 1, lost: 1, maxMs: 100 }]);
  });

  test('is complete when each is through or refused; waiting ends with the time or the signal too', async () => {
    const { signal } = new AbortController();
    const log = new ProbeLog(['ack'], () => 0, 100);
    log.sent(0, 0);
    log.sent(1, 0);
    await log.complete(1, signal);
    expect(log.isComplete).toBe(false);
    await log.complete(60_000, AbortSignal.abort());
    const waiting = log.complete(60_000, signal);
    log.acked(0, 1n);
    log.failed(1);
    await waiting;
    expect(log.isComplete).toBe(true);
  });
});
