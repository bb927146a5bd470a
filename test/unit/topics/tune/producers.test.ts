import { describe, expect, test } from 'vitest';

import { producersAdvice } from '../../../../src/lib/topics/tune/producers.ts';
import { batches, idle, measure } from './fixtures.ts';

/** 600 batches a second, of which a single producer sends each partition a hundred. */
const small = batches({
  batches: 1000,
  records: 1000,
  bytes: 150_000,
  unpackedBytesPerBatch: 150,
  codecs: { zstd: 1000 },
});

describe('linger.ms', () => {
  test('many small batches: the shortest wait that gathers four times as much', () => {
    // 600/s ÷ 6 partitions: 100/s, so that 50 ms gather 5 and 20 ms only 2
    const advice = producersAdvice(measure({ recordsPerSec: 600, batches: small }));
    expect(advice).toMatchObject({ verdict: 'change', producerSettings: { 'linger.ms': '50' } });
    expect(advice.summary).toBe('batches are small (1 record) and many (600/s): 50 ms gather about 5');
    expect(advice.costs).toEqual(['up to 50ms more until a record is there']);
  });

  test('more producers gather less each: no wait of 100 ms helps', () => {
    const advice = producersAdvice(measure({ recordsPerSec: 600, batches: { ...small, producers: 10 } }));
    expect(advice).toMatchObject({ verdict: 'keep', producerSettings: {} });
  });

  test('few batches cost nothing, however small', () => {
    const advice = producersAdvice(measure({ recordsPerSec: 49, batches: small }));
    expect(advice).toMatchObject({ verdict: 'keep', producerSettings: {} });
    expect(advice.summary).toBe('1 record, 150 B a batch: small or not, they are few');
  });

  test('large batches are left alone', () => {
    const large = batches({
      batches: 10,
      records: 10_000,
      bytes: 1_000_000,
      unpackedBytesPerBatch: 100_000,
      codecs: { lz4: 10 },
    });
    expect(producersAdvice(measure({ recordsPerSec: 100_000, batches: large }))).toMatchObject({
      verdict: 'keep',
      summary: '1k records, 100 kB a batch: fine',
    });
  });
});

test('batches that end at Kafka’s default size get a larger one', () => {
  const full = batches({
    batches: 100,
    records: 16_000,
    bytes: 700_000,
    unpackedBytesPerBatch: 16_000,
    codecs: { zstd: 100 },
  });
  const advice = producersAdvice(measure({ recordsPerSec: 16_000, batches: full }));
  expect(advice.producerSettings).toEqual({ 'batch.size': '65536' });
  expect(advice.summary).toBe("batches end full at 16 kB before compression, about Kafka's default of 16.4 kB");
});

describe('compression.type', () => {
  const packed = { codec: 'zstd', fromBytes: 1000, toBytes: 250 };

  test('what it would take off is measured, and said', () => {
    const advice = producersAdvice(measure({ batches: batches({ codecs: { none: 90, gzip: 10 }, packed }) }));
    expect(advice).toMatchObject({ verdict: 'change', producerSettings: { 'compression.type': 'zstd' } });
    expect(advice.summary).toContain('90 % of the batches are not compressed: zstd takes 75 % off them');
    expect(advice.evidence).toContainEqual({
      what: 'size with zstd',
      value: 25,
      unit: 'percent',
      how: 'measured here on 1 kB of uncompressed batches',
    });
  });

  test.each([
    ['little to gain', batches({ packed: { ...packed, toBytes: 900 } })],
    ['it grows', batches({ packed: { ...packed, toBytes: 1200 } })],
    ['most are compressed', batches({ codecs: { none: 40, zstd: 60 }, packed })],
    ['nothing to measure', batches({ packed: { ...packed, fromBytes: 0 } })],
    ['not measured', batches()],
  ])('%s: nothing is advised', (_name, sample) => {
    expect(producersAdvice(measure({ recordsPerSec: 10, batches: sample })).producerSettings).toEqual({});
  });
});

describe('little to go by', () => {
  test('no batch: no number', () => {
    expect(producersAdvice(measure({ batches: null }))).toMatchObject({
      verdict: 'unknown',
      evidence: [],
      confidence: 'none',
    });
    expect(producersAdvice(measure({ batches: batches({ batches: 0, records: 0 }) })).verdict).toBe('unknown');
  });

  test('batches from before the watch tell sizes, and no rate', () => {
    const advice = producersAdvice(
      measure({ ...idle, batches: batches({ duringWatch: false, codecs: { zstd: 100 } }) }),
    );
    expect(advice).toMatchObject({ verdict: 'unknown', confidence: 'low', producerSettings: {} });
    expect(advice.summary).toBe('10 records, 1 kB a batch; nothing came in during the watch');
    expect(advice.evidence.find(({ what }) => what === 'batches')?.value).toBeNull();
  });
});
