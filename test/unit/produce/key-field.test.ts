import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { keyFromField } from '../../../src/lib/produce/key-field.ts';

describe('keyFromField', () => {
  test.each([
    ['a', '{"a":"x"}', 'x'],
    ['a.b', '{"z":{"b":1},"a":{"b":"deep"}}', 'deep'],
    ['a', '{"a":"\\u00fc\\n"}', 'ü\n'],
    ['a', '{"a":9007199254740993}', '9007199254740993'],
    ['a', '{"a":1.10}', '1.10'],
    ['a', '{"a":true}', 'true'],
    ['a', '{"a":""}', ''],
    ['a', '{"a":1,"a":"last"}', 'last'],
    ['__proto__', '{"__proto__":"own"}', 'own'],
    ['a', '\ufeff{"a":"after a byte order mark"}', 'after a byte order mark'],
  ])('%s of %s is %j', (path, record, key) => {
    expect(keyFromField(path)(Buffer.from(record))).toEqual({ kind: 'key', key: Buffer.from(key) });
  });

  test.each([
    ['a', '{"b":1}', 'the record has no a'],
    ['a.b', '{"a":"text"}', 'the record has no a.b'],
    ['a.b.c', '{"a":{}}', 'the record has no a.b.c'],
    ['toString', '{}', 'the record has no toString'],
    ['a', '[1]', 'the record has no a'],
    ['a', '{"a":null}', 'a is a JSON null, which is no key'],
    ['a', '{"a":{"secret":1}}', 'a is a JSON object, which is no key'],
    ['a', 'secret', 'the record is not JSON (malformed_json)'],
    ['a', '', 'the record is not JSON (malformed_json)'],
  ])('%s of %s is no key', (path, record, problem) => {
    expect(keyFromField(path)(Buffer.from(record))).toEqual({ kind: 'none', problem });
  });

  test('bytes that are not UTF-8 give no key', () => {
    expect(keyFromField('a')(Buffer.from('{"a":"\xe9"}', 'latin1'))).toEqual({
      kind: 'none',
      problem: 'the record is not JSON (invalid_utf8)',
    });
  });

  test.each(['', '.', 'a.', '.a', 'a..b'])('%j is not a field', (path) => {
    expect(() => keyFromField(path)).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }) as Error);
  });

  test('any string comes back as its UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(keyFromField('k')(Buffer.from(JSON.stringify({ k: text })))).toEqual({
          kind: 'key',
          key: Buffer.from(text),
        });
      }),
    );
  });
});
