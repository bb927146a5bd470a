import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import { compareNumbers, parseNumber } from '../../../src/lib/where/numbers.ts';
import { compileWhere, type WhereRecord } from '../../../src/lib/where/where.ts';

const bytes = (text: string | Buffer | null): Buffer | null => (typeof text === 'string' ? Buffer.from(text) : text);

function record(value: string | Buffer | null, more: Partial<WhereRecord> = {}): WhereRecord {
  return {
    topic: 'events',
    partition: 3,
    offset: 1042n,
    timestampMs: Date.UTC(2026, 0, 31, 12),
    key: bytes('o-1'),
    value: bytes(value),
    headers: [],
    ...more,
  };
}

const paid = record(
  '{"id":"e1","source":"shop","type":"order.paid","subject":"o-1","time":"2026-01-31T12:00:00+01:00","data":{"amountCents":10001,"flag":true,"none":null,"tags":["a","b"],"items":[{"sku":"A1","n":2},{"sku":"B2","n":0}],"price":1.10,"big":9007199254740993,"vast":1e400,"__proto__":{"x":1},"odd-name":"y"}}',
  {
    headers: [
      ['tenant', Buffer.from('t1')],
      ['tenant', Buffer.from('t2')],
      ['empty', null],
      ['__proto__', Buffer.from('h')],
    ],
  },
);

describe('what an expression says of a record', () => {
  test.each([
    // the fields
    ['type == "order.paid" && data.amountCents > 10000', true],
    ["type == 'order.paid' && data.amountCents > 10001", false],
    ['key == "o-1" && subject == key && source == "shop" && id == "e1"', true],
    ['topic == "events" && partition == 3 && offset == 1042', true],
    ['offset >= 1000 && offset % 100 == 42', true],
    ['value.contains("order.paid")', true],
    ['json.data.amountCents == 10001', true],
    ['headers.tenant == "t2" && headers["tenant"] != "t1"', true],
    ['"empty" in headers && headers.empty == null && !("other" in headers)', true],
    ['timestamp == timestamp("2026-01-31T12:00:00Z")', true],
    ['timestamp(time) == timestamp("2026-01-31T11:00:00Z")', true],
    ['timestamp > timestamp("2026-02-01T00:00:00Z")', false],
    // lists and objects
    ['data.tags[1] == "b" && "a" in data.tags && !("c" in data.tags)', true],
    ['type in ["order.created", "order.paid"]', true],
    ['data.amountCents in [1, 10001.0]', true],
    ['data.items.exists(item, item.sku == "B2" && item.n == 0)', true],
    ['data.items.all(item, item.n > 0)', false],
    ['size(data.items) == 2 && size(key) == 3', true],
    ['data["odd-name"] == "y"', true],
    ['data.tags == data.tags', false],
    // text
    ['type.startsWith("order.") && type.endsWith(".paid")', true],
    ['type.like("order.*") && type.like("*.p?id") && !type.like("order")', true],
    ['type.lowerAscii() == "order.paid"', true],
    ['data.flag ? type == "order.paid" : false', true],
    // precedence
    ['type == "x" && false || data.flag', true],
    ['!data.flag || data.amountCents > 1', true],
    // what is missing is null, a condition over it is false
    ['data.missing == null && data.none == null', true],
    ['has(data.none) && !has(data.missing) && !has(data.missing.deeper) && !has(headers.x)', true],
    ['data.missing.deeper.still[0]["x"] == null', true],
    ['data.missing > 1', false],
    ['data.missing <= 1', false],
    ['data.missing != 1', true],
    ['data.missing && true', false],
    ['!data.missing', true],
    ['data.missing.startsWith("x")', false],
    ['data.missing.exists(i, true)', false],
    ['data.missing.all(i, true)', false],
    ['size(data.missing) == null && timestamp(data.missing) == null && number(data.missing) == null', true],
    ['-data.missing == null && data.missing % 2 == null', true],
    ['data.tags[7] == null && data.tags[-1] == null && data.tags[0.5] == null', true],
    // different kinds
    ['data.amountCents == "10001"', false],
    ['data.amountCents > "1"', false],
    ['number("10001") == data.amountCents && number("x") == null', true],
    ['data.flag == 1 || data.flag == "true"', false],
    // nothing inherited, nothing but the record
    ['data.constructor == null && data.toString == null && type.length == null && headers.constructor == null', true],
    ['data["__proto__"].x == 1', true],
    ['headers["__proto__"] == "h"', true],
    ['data.tags.length == null && data.tags["length"] == null', true],
    // numbers as they are written
    ['data.big == 9007199254740993', true],
    ['data.big == 9007199254740992', false],
    ['data.big > 9007199254740992 && data.big < 9007199254740994', true],
    ['data.price == 1.1 && data.price == 1.100', true],
    ['data.vast > 9007199254740993 && data.vast != data.big', true],
    ['data.big % 10 == 3', true],
    ['-data.big < -9007199254740992', true],
  ])('%s: %s', (text, expected) => {
    expect(compileWhere(text)(paid)).toBe(expected);
  });

  test('an event in binary mode has its attributes in headers, its data in the value', () => {
    const binary = record('{"amountCents":5}', {
      headers: [
        ['ce_specversion', Buffer.from('1.0')],
        ['ce_id', Buffer.from('e1')],
        ['ce_type', Buffer.from('order.paid')],
      ],
    });
    expect(compileWhere('type == "order.paid" && id == "e1" && data.amountCents == 5')(binary)).toBe(true);
  });

  test.each([
    ['a tombstone', null],
    ['nothing', ''],
    ['text', 'no json'],
    ['a number', '42'],
    ['null', 'null'],
    ['not UTF-8', Buffer.from([0xff, 0xfe])],
    ['a list', '[1]'],
    ['deep JSON', `${'['.repeat(200_000)}1e5${']'.repeat(200_000)}`],
  ])('%s has no fields, and breaks nothing', (_name, value) => {
    const odd = record(value, { key: null, partition: null, offset: null, timestampMs: null });
    expect(compileWhere('data.x == 1 || type == "a" || offset > 0 || key == "" || partition == 0')(odd)).toBe(false);
    expect(compileWhere('type == null && data.x.y == null && key == null && offset == null')(odd)).toBe(true);
  });

  test('a byte order mark is no part of the JSON', () => {
    expect(compileWhere('type == "a"')(record('\ufeff{"type":"a"}'))).toBe(true);
  });

  test('each record is judged by itself', () => {
    const matches = compileWhere('json.n > 1 && headers.x == null');
    expect([1, 2, 3].map((n) => matches(record(`{"n":${n}}`)))).toEqual([false, true, true]);
    expect(matches(record('{"n":2}', { headers: [['x', Buffer.from('1')]] }))).toBe(false);
  });

  test('more variables by the caller', () => {
    const matches = compileWhere<WhereRecord & { readonly reason: string }>('reason == "schema" && type == "a"', {
      reason: { kind: 'text', read: ({ reason }) => reason },
    });
    expect(matches({ ...record('{"type":"a"}'), reason: 'schema' })).toBe(true);
    expect(matches({ ...record('{"type":"a"}'), reason: 'too_deep' })).toBe(false);
  });
});

describe('a wrong expression is a usage error with its place', () => {
  test.each([
    ['type = "x"', 6, 'compare with =='],
    ['type == "x" and key == "y"', 13, 'write && instead of and'],
    ['type ==', 8, 'unexpected token'],
    ['', 1, 'unexpected token'],
    ['typ == "x"', 1, 'there is no variable typ: did you mean type?'],
    ['true && zzzzzz == 1', 9, 'there is no variable zzzzzz: there are key, value, headers'],
    ['"abc', 1, 'unterminated string'],
    ['type', undefined, undefined],
    ['key', 1, 'this is a text, not a condition'],
    ['true && offset', 9, 'this is a number, not a condition'],
    ['!"x"', 2, 'this is a text, not a condition'],
    ['offset + 1 == 2', 8, '+ is not known here'],
    ['type.matches("(a+)+$")', 6, 'regular expressions have no bound'],
    ['frob(key)', 1, 'there is no function frob'],
    ['toString(key) == ""', 1, 'there is no function toString'],
    ['key.constructor("x")', 5, 'there is no .constructor()'],
    ['key.startsWith()', 1, 'write TEXT.startsWith(TEXT)'],
    ['has(type)', 1, 'has asks for a member'],
    ['data.a.exists(x, x.exists(y, y == 1))', 20, 'inside of exists or all'],
    ['{"a": 1} == null', 2, 'exceeded'],
    ['b"x" == null', 1, 'bytes'],
    ['key\n == "a" && nope', 12, 'there is no variable nope'],
    ['1e400 > 2', 1, 'invalid number'],
  ])('%s', (text, column, message) => {
    if (column === undefined) {
      expect(() => compileWhere(text)).not.toThrow();
      return;
    }
    const error = failureOf(text);
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain(message);
    expect(error.where).toEqual({ column });
    const [, line = '', caret = ''] = error.message.split('\n');
    expect(text).toContain(line.trim());
    expect(caret).toBe(`${' '.repeat(column + 1)}^`);
  });

  test.each([
    ['nesting', '('.repeat(3000) + '1' + ')'.repeat(3000)],
    ['negations', `${'!'.repeat(4000)}data.x`],
    ['members', `data${'.a'.repeat(2000)} == 1`],
    ['terms', Array.from({ length: 900 }, () => 'a').join('||')],
    ['length', `"${'x'.repeat(5000)}" == key`],
    ['a long list', `key in [${Array.from({ length: 1500 }, () => '1').join(',')}]`],
  ])('an expression beyond bounds is refused: %s', (_name, text) => {
    expect(failureOf(text).exitCode).toBe(2);
  });

  test('any text at all compiles or is refused with a code', () => {
    const words = fc.constantFrom(
      'type',
      'data',
      '.x',
      '[0]',
      '["a"]',
      ' == ',
      '&&',
      '||',
      '!',
      '(',
      ')',
      '1',
      '-',
      '9007199254740993',
      '"t"',
      ' in ',
      '[',
      ']',
      ',',
      'has(',
      '.like(',
      '.exists(i,',
      'i',
      '?',
      ':',
      'null',
      'true',
      '\n',
      '\\',
      "'",
      '1.5e3',
      'size(',
      '%',
      '`',
      '{',
      '}',
      'r"',
      '"""',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(words, { maxLength: 30 }).map((parts) => parts.join('')),
          fc.string(),
        ),
        (text) => {
          try {
            compileWhere(text)(paid);
          } catch (error) {
            expect(error).toBeInstanceOf(KpipeError);
            expect((error as KpipeError).code).toBe('KPIPE_USAGE');
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

function failureOf(text: string): KpipeError {
  try {
    compileWhere(text);
  } catch (error) {
    expect(error).toBeInstanceOf(KpipeError);
    return error as KpipeError;
  }
  throw new Error(`compiles: ${text}`);
}

describe('the cost is bounded', () => {
  test('like goes back only to its last star', () => {
    const matches = compileWhere('value.like("*a*a*a*a*a*a*a*a*a*a*b")');
    expect(matches(record('a'.repeat(20_000)))).toBe(false);
  });

  test('a number of a million digits is a number', () => {
    const digits = '7'.repeat(1_000_000);
    const matches = compileWhere('data.n > 1 && data.n % 2 == null && data.m == data.n');
    expect(matches(record(`{"data":{"n":${digits},"m":${digits}.0}}`))).toBe(true);
  });
});

describe('numbers', () => {
  /** Oracle: both brought to one power of ten, as integers. */
  const scaled = (text: string): bigint => {
    const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
    const [whole = '', fraction = ''] = mantissa.split('.');
    return BigInt(whole + fraction) * 10n ** BigInt(Number(exponent) - fraction.length + 80);
  };
  const digits = (maxLength: number): fc.Arbitrary<string> =>
    fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength }).map((each) => each.join(''));
  const numberText = fc
    .tuple(fc.boolean(), digits(22), fc.option(digits(20)), fc.option(fc.integer({ min: -40, max: 40 })))
    .map(
      ([negative, whole, fraction, exponent]) =>
        `${negative ? '-' : ''}${whole}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : `e${exponent}`}`,
    );
  const near = numberText.chain((text) =>
    fc.tuple(
      fc.constant(text),
      fc.oneof(
        numberText,
        fc.constant(text),
        fc.constant(text.replace(/\d$/, '1')),
        fc.constant(/[.e]/.test(text) ? text : `${text}.0`),
      ),
    ),
  );

  test('their order is the decimals’, whatever their size', () => {
    fc.assert(
      fc.property(near, ([left, right]) => {
        const [one, other] = [scaled(left), scaled(right)];
        const order = compareNumbers(parseNumber(left)!, parseNumber(right)!);
        expect(Math.sign(order) + 0).toBe(one < other ? -1 : one > other ? 1 : 0);
      }),
      { numRuns: 5000 },
    );
  });

  test.each(['', ' ', '.', '-', 'e5', '1e', '0x10', 'NaN', 'Infinity', '1_000', '1,5', '--1'])('%j is none', (text) => {
    expect(parseNumber(text)).toBeUndefined();
  });

  test('what a record holds compares as it is written, however it is written', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.bigInt({ min: -2n, max: 2n }), (n, by) => {
        const matches = compileWhere(`json.n ${by < 0n ? '<' : by > 0n ? '>' : '=='} ${n}`);
        expect(matches(record(`{"n": ${n + by}}`))).toBe(true);
        expect(matches(record(`{"n": ${n - (by === 0n ? 1n : by)}}`))).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });
});
