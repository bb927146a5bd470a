import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decimalText } from '../../../src/lib/bigquery/decimal.ts';

/** A plain or exponent numeral as a whole number of 10^-60, by schoolbook shifting: shares nothing with what it checks. */
function in60ths(numeral: string): bigint {
  const [mantissa = '', exponent = '0'] = numeral.toLowerCase().split('e');
  const negative = mantissa.startsWith('-');
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.');
  const zeros = 60 + Number(exponent) - fraction.length;
  const digits = whole + fraction;
  const shifted = zeros >= 0 ? digits + '0'.repeat(zeros) : digits.slice(0, zeros) || '0';
  return BigInt(shifted) * (negative ? -1n : 1n);
}

describe('an exact decimal', () => {
  test.each([
    ['1.10', '1.1'],
    ['-0', '0'],
    ['0e5', '0'],
    ['-0.0', '0'],
    ['12e-1', '1.2'],
    ['1.5E+3', '1500'],
    ['0.000000001', '0.000000001'],
    ['-0.100000000000', '-0.1'],
    ['9007199254740993', '9007199254740993'],
    ['99999999999999999999999999999.999999999', '99999999999999999999999999999.999999999'],
    ['-99999999999999999999999999999.999999999', '-99999999999999999999999999999.999999999'],
    ['0.1234567890', '0.123456789'],
  ])('NUMERIC takes %s as %s', (numeral, text) => {
    expect(decimalText('NUMERIC', numeral)).toBe(text);
  });

  test.each([
    '0.0000000001',
    '100000000000000000000000000000',
    '1e29',
    '1e400',
    '1e-400',
    '1e99999',
    `0.${'1'.repeat(100_000)}`,
    '01',
    '+1',
    '1.',
    '.5',
    ' 1',
    '1 ',
    '0x10',
    'NaN',
    '1e999999',
    '',
  ])('NUMERIC takes no %s: it would have to round, or is no JSON number', (numeral) => {
    expect(decimalText('NUMERIC', numeral)).toBeUndefined();
  });

  test.each([
    ['578960446186580977117854925043439539266.34992332820282019728792003956564819967', true],
    ['578960446186580977117854925043439539266.34992332820282019728792003956564819968', false],
    ['-578960446186580977117854925043439539266.34992332820282019728792003956564819968', true],
    ['-578960446186580977117854925043439539266.34992332820282019728792003956564819969', false],
    ['0.00000000000000000000000000000000000001', true],
    ['0.000000000000000000000000000000000000001', false],
  ])('BIGNUMERIC and its bounds: %s', (numeral, fits) => {
    expect(decimalText('BIGNUMERIC', numeral)).toBe(fits ? numeral : undefined);
  });

  test('what fits keeps its value to the last digit, and what does not would lose some', () => {
    const digits = (max: number): fc.Arbitrary<string> =>
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: max }).map((all) => all.join(''));
    const numerals = fc
      .record({
        sign: fc.constantFrom('', '-'),
        whole: digits(20).map((text) => text.replace(/^0+/, '') || '0'),
        fraction: digits(15),
        exponent: fc.integer({ min: -15, max: 15 }),
      })
      .map(({ sign, whole, fraction, exponent }) => `${sign}${whole}${fraction && `.${fraction}`}e${exponent}`);
    fc.assert(
      fc.property(numerals, (numeral) => {
        const exact = in60ths(numeral);
        const isExact = exact % 10n ** 51n === 0n && exact > -(10n ** 89n) && exact < 10n ** 89n;
        const text = decimalText('NUMERIC', numeral);
        expect(text !== undefined).toBe(isExact);
        if (text !== undefined) {
          expect(text).toMatch(/^-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?$/);
          expect(in60ths(text)).toBe(exact);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
