/** Digits before and after the point: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types */
const decimals = {
  NUMERIC: { scale: 9, min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n },
  BIGNUMERIC: { scale: 38, min: -(2n ** 255n), max: 2n ** 255n - 1n },
} as const;

/** More significant digits than any decimal type has. */
const maxDigits = 78;

/**
 * A JSON number's text as the type's own, without exponent and without zeros that say nothing: `1.10` and `11e-1` are
 * `1.1`.
 * @returns undefined when the type would have to round it, or cannot reach it
 */
export function decimalText(type: keyof typeof decimals, numeral: string): string | undefined {
  const parts = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,5}))?$/.exec(numeral);
  if (parts === null) {
    return undefined;
  }
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = parts;
  const all = (whole + fraction).replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  if (digits === '') {
    return '0';
  }
  // The value is digits × 10^power.
  const power = Number(exponent) - fraction.length + all.length - digits.length;
  const { scale, min, max } = decimals[type];
  if (digits.length > maxDigits || power < -scale || power > maxDigits) {
    return undefined;
  }
  const scaled = BigInt(sign + digits) * 10n ** BigInt(power + scale);
  if (scaled < min || scaled > max) {
    return undefined;
  }
  if (power >= 0) {
    return `${sign}${digits}${'0'.repeat(power)}`;
  }
  const padded = digits.padStart(1 - power, '0');
  return `${sign}${padded.slice(0, power)}.${padded.slice(power)}`;
}
