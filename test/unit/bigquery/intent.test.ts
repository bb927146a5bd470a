import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  formatIntent,
  maxMetadataBytes,
  parseIntent,
  tableOfStream,
  type Intent,
} from '../../../src/lib/bigquery/intent.ts';

const stream = 'projects/shop-prod/datasets/analytics/tables/events/streams/Cic2NWE5-_x';
const micros = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n });
const span = fc
  .tuple(micros, micros)
  .map(([one, other]) => (one < other ? { min: one, max: other } : { min: other, max: one }));
const intents: fc.Arbitrary<Intent> = fc
  .record({
    from: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    rows: fc.integer({ min: 1, max: 1_000_000 }),
    gap: fc.nat(1000),
    time: span,
    ingested: span,
  })
  .map(({ from, rows, gap, time, ingested }) => ({
    stream,
    from,
    to: from + BigInt(rows + gap),
    rows,
    timeMicros: time,
    ingestedAtMicros: ingested,
  }));
const sample: Intent = {
  stream,
  from: 10n,
  to: 20n,
  rows: 9,
  timeMicros: { min: 1n, max: 2n },
  ingestedAtMicros: { min: 3n, max: 4n },
};

describe('the intent in a commit’s metadata', () => {
  test('any intent reads back as it was written', () => {
    fc.assert(
      fc.property(intents, (intent) => {
        expect(parseIntent(formatIntent(intent), intent.from)).toEqual(intent);
      }),
    );
  });

  test('the longest names that kpipe.yaml allows for a dataset and a table still fit', () => {
    const longest = `projects/${'p'.repeat(200)}/datasets/${'d'.repeat(1024)}/tables/${'t'.repeat(1024)}/streams/${'s'.repeat(200)}`;
    const text = formatIntent({ ...sample, stream: longest, from: 2n ** 62n, to: 2n ** 63n - 1n });
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maxMetadataBytes);
    expect(parseIntent(text, 2n ** 62n)).toMatchObject({ stream: longest });
  });

  test('an intent of another position is none: somebody moved the offset and kept the metadata', () => {
    expect(parseIntent(formatIntent(sample), 11n)).toBeNull();
  });

  test.each([
    ['nothing', ''],
    ['text', 'committed by hand'],
    ['other JSON', '{"a":1}'],
    ['null', 'null'],
    ['a list', '[]'],
    ['half of one', formatIntent(sample).slice(0, 80)],
    ['an unknown field', formatIntent(sample).replace('"a":', '"x":1,"a":')],
    ['a second intent', formatIntent(sample).replace('{"intent"', '{"more":1,"intent"')],
    ['no rows', formatIntent(sample).replace('"rows":9', '"rows":0')],
    ['more rows than offsets', formatIntent(sample).replace('"rows":9', '"rows":11')],
    ['an empty range', formatIntent(sample).replace('"b":"20"', '"b":"10"')],
    ['a number for an offset', formatIntent(sample).replace('"b":"20"', '"b":20')],
    ['a negative offset', formatIntent(sample).replace('"a":"10"', '"a":"-10"')],
    ['a span that runs backwards', formatIntent(sample).replace('["1","2"]', '["2","1"]')],
    ['a stream that is none', formatIntent(sample).replace('/streams/', '/')],
    [
      'a stream that would break out of a query',
      formatIntent(sample).replace('datasets/analytics', 'datasets/a` WHERE true'),
    ],
  ])('foreign metadata is no intent: %s', (_what, text) => {
    expect(parseIntent(text, 10n)).toBeNull();
  });

  test('any text at all is read without a failure', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseIntent(text, 0n)).toBeNull();
      }),
    );
  });

  test('a stream names its table', () => {
    expect(tableOfStream(stream)).toBe('projects/shop-prod/datasets/analytics/tables/events');
  });
});
