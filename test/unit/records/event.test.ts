import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { SourceRecord } from '../../../src/lib/ports.ts';
import { createEventDecoder, type EventRow } from '../../../src/lib/records/event.ts';
import { Span } from '../../../src/lib/records/span.ts';
import { header, limits, recordOf } from './records.ts';

const decode = createEventDecoder({ defaultSource: 'shop', limits });

function rowOf(record: SourceRecord): EventRow {
  const decoded = decode(record);
  if (decoded.kind === 'dead') {
    throw new Error(`${decoded.reason}: ${decoded.message}`);
  }
  return decoded.row;
}

/** The row with texts for bytes. */
function shown(record: SourceRecord): Record<string, unknown> {
  const entries = Object.entries(rowOf(record)).map(([name, value]) => [
    name,
    Buffer.isBuffer(value) || value instanceof Span ? value.toString() : (value as unknown),
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function reasonOf(record: SourceRecord): string {
  const decoded = decode(record);
  return decoded.kind === 'dead' ? decoded.reason : 'stored';
}

const noon = Date.UTC(2026, 10, 1, 12);
const minimal = { id: 'e-1', type: 'order.created' };

describe('the three forms of an event', () => {
  test('bare JSON: what is missing comes from the role and from Kafka', () => {
    expect(shown(recordOf('{"id":"e-1","type":"order.created"}'))).toEqual({
      offset: 7n,
      recordTimeMs: noon,
      id: 'e-1',
      source: 'shop',
      type: 'order.created',
      subject: null,
      time: { ms: noon, micros: 0 },
      data: null,
      extensions: null,
      key: 'k',
      raw: null,
    });
  });

  test('structured mode: every attribute in its place, unknown ones verbatim', () => {
    const value =
      '{"specversion":"1.0","id":"e-1","source":"/checkout","type":"order.created","subject":"o-1",' +
      '"time":"2026-11-01T14:00:00.000001+02:00","datacontenttype":"application/json","dataschema":"urn:x",' +
      '"traceparent" : "00-ab", "weight":1.10,"data" : { "n" : 9007199254740993 }}';
    const record = recordOf(value, {
      headers: [header('content-type', 'application/cloudevents+json; charset=utf-8')],
    });
    expect(shown(record)).toMatchObject({
      source: '/checkout',
      subject: 'o-1',
      time: { ms: noon, micros: 1 },
      data: '{ "n" : 9007199254740993 }',
      extensions: '{"dataschema":"urn:x","traceparent":"00-ab","weight":1.10}',
      raw: null,
    });
  });

  test('binary mode: attributes from ce_ headers, the value is the data', () => {
    const record = recordOf(' {"n":1e400} ', {
      headers: [
        header('ce_specversion', '1.0'),
        header('ce_id', 'e-1'),
        header('ce_source', '/checkout'),
        header('ce_type', 'order.created'),
        header('ce_subject', 'o-1'),
        header('ce_time', '2026-11-01T12:00:00Z'),
        header('ce___proto__', 'x'),
        header('ce_traceparent', '00-ab'),
        header('other', 'not ours'),
        header('Content-Type', 'application/json'),
        header('ce_empty', null),
      ],
    });
    expect(shown(record)).toMatchObject({
      id: 'e-1',
      source: '/checkout',
      type: 'order.created',
      subject: 'o-1',
      time: { ms: noon, micros: 0 },
      data: ' {"n":1e400} ',
      extensions: '{"__proto__":"x","traceparent":"00-ab"}',
      raw: null,
    });
  });

  const ce = [header('ce_id', 'e-1'), header('ce_type', 't')];
  test.each([
    ['vendor JSON', 'application/vnd.shop.order+json; charset=utf-8', '{"a":1}', '{"a":1}'],
    ['JSON with a byte order mark', 'application/json', '\ufeff{"a":1}', '{"a":1}'],
    ['text', 'text/plain', 'a "b"\n', '"a \\"b\\"\\n"'],
    ['bytes', 'application/octet-stream', Buffer.from([0, 255, 1]), '"AP8B"'],
    ['no value', 'application/json', null, null],
    ['no bytes', 'application/json', '', null],
  ])('binary mode with %s', (_what, contentType, value, data) => {
    const record = recordOf(value, { headers: [...ce, header('content-type', contentType)] });
    expect(shown(record)).toMatchObject({ data, raw: null });
  });

  test('binary mode keeps the bytes of a text that PostgreSQL cannot hold', () => {
    const bytes = Buffer.from([0x61, 0x00, 0x62]);
    const row = rowOf(recordOf(bytes, { headers: [...ce, header('content-type', 'text/plain')] }));
    expect(row.data?.toString()).toBe('"a\ufffdb"');
    expect(row.raw).toEqual(bytes);
  });

  test('a text in another encoding than UTF-8 is not guessed at', () => {
    const record = recordOf(Buffer.from('caf\u00e9', 'latin1'), {
      headers: [...ce, header('content-type', 'text/plain')],
    });
    expect(decode(record)).toMatchObject({ kind: 'dead', reason: 'invalid_utf8' });
  });

  test.each(['ce_type', 'ce_subject', 'ce_note', 'ce_no\u0000te'])(
    'U+0000 in %j is U+FFFD, and that is flagged',
    (name) => {
      const headers = [header('ce_id', 'e-1'), header('ce_type', 't'), header(name, 'a\u0000')];
      const row = shown(recordOf('{"v":1}', { headers }));
      expect(`${String(row['type'])}${String(row['subject'])}${String(row['extensions'])}`).toContain('a\ufffd');
      expect(row).toMatchObject({ data: '{"v":1}', raw: '{"v":1}' });
    },
  );

  test('a ce_ header beside a structured content type does not make it binary', () => {
    const record = recordOf(minimal, {
      headers: [header('ce_id', 'other'), header('content-type', 'Application/CloudEvents+json')],
    });
    expect(shown(record)).toMatchObject({ id: 'e-1' });
  });
});

describe('what is stored is the text that came', () => {
  test.each([
    ['9007199254740993', '123456789012345678901234567890', '1.10', '1e400', '-0', '0.1e-5'],
    ['"\\u00e9\\/"', '"x\\\\u0000y"', '" "', '"\u2028"'],
    ['{ "b" : 1 , "b" : 2 }', '[ ]', 'true', 'null'],
  ])('%s …', (...texts) => {
    for (const text of texts) {
      expect(shown(recordOf(`{"id":"1","type":"t","data": ${text} }`))).toMatchObject({ data: text, raw: null });
    }
  });

  test('keys that JavaScript finds special are plain keys', () => {
    const value =
      '{"__proto__":{"id":"evil","polluted":1},"constructor":1,"hasOwnProperty":2,"id":"e-1","type":"t","toString":3,' +
      '"data":{"__proto__":1,"hasOwnProperty":null}}';
    expect(shown(recordOf(value))).toMatchObject({
      id: 'e-1',
      data: '{"__proto__":1,"hasOwnProperty":null}',
      extensions: '{"__proto__":{"id":"evil","polluted":1},"constructor":1,"hasOwnProperty":2,"toString":3}',
    });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('escaped attribute names are the attributes', () => {
    expect(shown(recordOf('{"\\u0069d":"e-\\u0031","ty\\u0070e":"t","d\\u0061ta":[1]}'))).toMatchObject({
      id: 'e-1',
      type: 't',
      data: '[1]',
      extensions: null,
    });
  });

  test('NUL and lone surrogates become U+FFFD of the same length, and the raw bytes are kept', () => {
    const value =
      '{"id":"1","type":"a\\u0000b","subject":"\\ud800","x":"\\udc00","data":{"v":["\\u0000",{"w":"\\ud83d\\ude00"}]}}';
    expect(shown(recordOf(value))).toMatchObject({
      type: 'a\ufffdb',
      subject: '\ufffd',
      data: '{"v":["\\ufffd",{"w":"\\ud83d\\ude00"}]}',
      extensions: '{"x":"\\ufffd"}',
      raw: value,
    });
  });

  test('a byte order mark is no content', () => {
    expect(shown(recordOf('\ufeff {"id":"1","type":"t","data":[1],"x":2}'))).toMatchObject({
      id: '1',
      data: '[1]',
      extensions: '{"x":2}',
      raw: null,
    });
  });

  test('any data and extension survive as they came, wherever they stand', () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.json(),
        fc.string({ minLength: 1, maxLength: 60 }),
        fc.boolean(),
        (data, extra, id, first) => {
          fc.pre(id.isWellFormed() && !id.includes('\u0000'));
          // fc.json makes keys that cannot be stored; the scanner's own test has those.
          fc.pre(!/\\u0000|\\ud[89a-f]/i.test(data + extra));
          const envelope = `"id":${JSON.stringify(id)},"type":"t"`;
          const value = first
            ? `{"data":${data},"ext":${extra},${envelope}}`
            : `{${envelope},"ext":${extra},"data":${data}}`;
          expect(shown(recordOf(value))).toMatchObject({ id, data, extensions: `{"ext":${extra}}` });
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('times', () => {
  test.each([
    ['"2026-11-01T12:00:00Z"', { ms: noon, micros: 0 }],
    ['"2026-11-01T12:00:\\u0030\\u0030Z"', { ms: noon, micros: 0 }],
    [String(noon), { ms: noon, micros: 0 }],
    [`${noon}.25`, { ms: noon, micros: 250 }],
    ['null', { ms: noon, micros: 0 }],
  ])('%s', (time, expected) => {
    expect(shown(recordOf(`{"id":"1","type":"t","time":${time}}`))).toMatchObject({ time: expected });
  });

  test.each([
    ['"now"', 'invalid_timestamp'],
    ['""', 'invalid_timestamp'],
    ['"2026-02-30T00:00:00Z"', 'invalid_timestamp'],
    ['"\\u0000"', 'invalid_timestamp'],
    [`"${noon}"`, 'invalid_timestamp'],
    ['"+294277-01-01T00:00:00Z"', 'timestamp_range'],
    ['1e20', 'timestamp_range'],
    ['true', 'schema'],
    ['{}', 'schema'],
    ['[]', 'schema'],
  ])('%s is %s', (time, reason) => {
    expect(reasonOf(recordOf(`{"id":"1","type":"t","time":${time}}`))).toBe(reason);
  });

  test.each([[-1], [0], [-1000], [9_224_318_015_999_000]])('Kafka’s timestamp %d is stored', (timestampMs) => {
    expect(shown(recordOf(minimal, { timestampMs }))).toMatchObject({
      recordTimeMs: timestampMs,
      time: { ms: timestampMs },
    });
  });

  test('Kafka’s timestamp beyond PostgreSQL’s is a dead letter, even where the event has its own time', () => {
    const event = { ...minimal, time: '2026-11-01T12:00:00Z' };
    expect(reasonOf(recordOf(event, { timestampMs: 2 ** 63 }))).toBe('timestamp_range');
    expect(reasonOf(recordOf(minimal, { timestampMs: -(2 ** 63) }))).toBe('timestamp_range');
  });
});

describe('dead letters', () => {
  const long = 'x'.repeat(512);
  test.each([
    ['a tombstone', null, 'null_value'],
    ['no bytes', '', 'malformed_json'],
    ['half a document', '{"id":"1"', 'malformed_json'],
    ['two documents', '{"id":"1","type":"t"}{}', 'malformed_json'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'invalid_utf8'],
    ['an overlong NUL', Buffer.from([0x22, 0xc0, 0x80, 0x22]), 'invalid_utf8'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'invalid_utf8'],
    ['a number', '7', 'schema'],
    ['a list', '[{"id":"1","type":"t"}]', 'schema'],
    ['null', 'null', 'schema'],
    ['no id', '{"type":"t"}', 'schema'],
    ['id null', '{"id":null,"type":"t"}', 'schema'],
    ['id a number', '{"id":1,"type":"t"}', 'schema'],
    ['no type', '{"id":"1"}', 'schema'],
    ['type null', '{"id":"1","type":null}', 'schema'],
    ['type empty', '{"id":"1","type":""}', 'schema'],
    ['type a list', '{"id":"1","type":[]}', 'schema'],
    ['subject a number', '{"id":"1","type":"t","subject":1}', 'schema'],
    ['type too long', { id: '1', type: 'x'.repeat(2049) }, 'schema'],
    ['id empty', '{"id":"","type":"t"}', 'invalid_id'],
    ['id of 513 bytes', { id: `${long}x`, type: 't' }, 'invalid_id'],
    ['id of 512 characters, 513 bytes', { id: `${'x'.repeat(511)}ä`, type: 't' }, 'invalid_id'],
    ['id with NUL', '{"id":"a\\u0000","type":"t"}', 'invalid_id'],
    ['id with half a pair', '{"id":"\\ud83d","type":"t"}', 'invalid_id'],
    ['source empty', '{"id":"1","source":"","type":"t"}', 'invalid_id'],
    ['source with NUL', '{"id":"1","source":"\\u0000","type":"t"}', 'invalid_id'],
    ['source a number', '{"id":"1","source":1,"type":"t"}', 'schema'],
    ['two ids', '{"id":"1","id":"2","type":"t"}', 'ambiguous_id'],
    ['two sources', '{"id":"1","source":"a","type":"t","source":"b"}', 'ambiguous_id'],
    ['a key with NUL', '{"id":"1","type":"t","data":{"\\u0000":1}}', 'unstorable_text'],
    ['a wild exponent', '{"id":"1","type":"t","data":1e16384}', 'number_range'],
    ['100,000 levels', `{"id":"1","type":"t","data":${'['.repeat(100_000)}`, 'too_deep'],
    ['more bytes than allowed', Buffer.alloc(limits.maxValueBytes + 1, 0x20), 'too_large'],
  ])('%s', (_what, value, reason) => {
    expect(reasonOf(recordOf(value))).toBe(reason);
  });

  test.each([
    ['the same id twice', '{"id":"1","id":"\\u0031","type":"t"}'],
    ['id of 512 bytes', JSON.stringify({ id: long, type: 't' })],
    ['source null', '{"id":"1","source":null,"type":"t"}'],
    ['1,000 levels', `{"id":"1","type":"t","data":${'['.repeat(1000)}${']'.repeat(1000)}}`],
  ])('not dead: %s', (_what, value) => {
    expect(reasonOf(recordOf(value))).toBe('stored');
  });

  const headers = (count: number) => Array.from({ length: count }, () => header('h', 'v'));
  test.each([
    [1000, 'stored'],
    [1001, 'too_many_headers'],
  ])('%d headers: %s', (count, reason) => {
    expect(reasonOf(recordOf(minimal, { headers: headers(count) }))).toBe(reason);
  });

  test.each([
    ['no ce_type', [header('ce_id', '1')], 'schema'],
    ['two ce_id', [header('ce_id', '1'), header('ce_id', '2'), header('ce_type', 't')], 'ambiguous_id'],
    ['ce_id with NUL', [header('ce_id', 'a\u0000'), header('ce_type', 't')], 'invalid_id'],
    ['ce_type no UTF-8', [header('ce_id', '1'), header('ce_type', Buffer.from([0xff]))], 'invalid_utf8'],
    ['ce_time no time', [header('ce_id', '1'), header('ce_type', 't'), header('ce_time', 'now')], 'invalid_timestamp'],
    ['a body that is no JSON', [header('ce_id', '1'), header('ce_type', 't'), header('x', 'y')], 'malformed_json'],
  ])('binary mode: %s', (what, ceHeaders, reason) => {
    expect(reasonOf(recordOf(what.startsWith('a body') ? 'plain' : '{}', { headers: ceHeaders }))).toBe(reason);
  });

  test('no message quotes what the record holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const value = Buffer.concat([Buffer.from('{"id":"SECRET"'), Buffer.from(bytes)]);
        const decoded = decode(recordOf(value));
        expect(decoded.kind === 'dead' ? decoded.message : '').not.toContain('SECRET');
      }),
    );
  });
});
