/**
 * Numbers as JSON writes them, compared by their decimal value, exactly: 9007199254740993 is more than 9007199254740992,
 * 1.10 equals 1.1 and 1e400 is less than 1e401, all of which doubles deny.
 *
 * A number with at most 15 significant digits and an ordinary size is a JavaScript number: among such, doubles order and
 * equate as decimals do. Any other is a `Decimal`.
 */
export type ExactNumber = number | Decimal;

/** ±0.DIGITS × 10^magnitude; no zero at either end of the digits, none at all for zero. */
export class Decimal {
  readonly negative: boolean;
  readonly digits: string;
  readonly magnitude: number;

  constructor(negative: boolean, digits: string, magnitude: number) {
    this.negative = negative;
    this.digits = digits;
    this.magnitude = magnitude;
  }
}

const pattern = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?\s*$/;
const maxPlainDigits = 15;
/** Within it a number of 15 digits is a normal double. */
const maxPlainMagnitude = 300;

/** The number that a text writes; undefined when it writes none. Linear in the text's length. */
export function parseNumber(text: string): ExactNumber | undefined {
  const match = pattern.exec(text);
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole.length + fraction.length === 0) {
    return undefined;
  }
  const all = whole + fraction;
  let first = 0;
  while (first < all.length && all[first] === '0') {
    first += 1;
  }
  let last = all.length;
  while (last > first && all[last - 1] === '0') {
    last -= 1;
  }
  const digits = all.slice(first, last);
  // Exponents past what a double counts exactly are equal to each other: nobody has met such a number.
  const magnitude = digits === '' ? 0 : whole.length - first + Number(exponent);
  return digits.length <= maxPlainDigits && Math.abs(magnitude) <= maxPlainMagnitude
    ? Number(`${sign}${digits === '' ? '0' : `0.${digits}e${magnitude}`}`)
    : new Decimal(sign === '-', digits, magnitude);
}

/** Negative, zero or positive, as left is less than, equal to or more than right. */
export function compareNumbers(left: ExactNumber, right: ExactNumber): number {
  if (typeof left === 'number' && typeof right === 'number') {
    return left - right;
  }
  const [one, other] = [asDecimal(left), asDecimal(right)];
  const [signOfOne, signOfOther] = [signOf(one), signOf(other)];
  return signOfOne !== signOfOther ? signOfOne - signOfOther : signOfOne * compareMagnitudes(one, other);
}

/** The rest of a division of whole numbers, with the dividend's sign; undefined when either is not whole or is huge. */
export function remainder(left: ExactNumber, right: ExactNumber): ExactNumber | undefined {
  const [dividend, divisor] = [wholeOf(left), wholeOf(right)];
  return dividend === undefined || divisor === undefined || divisor === 0n
    ? undefined
    : parseNumber((dividend % divisor).toString());
}

export function negated(value: ExactNumber): ExactNumber {
  return typeof value === 'number' ? -value : new Decimal(!value.negative, value.digits, value.magnitude);
}

/** A number that JavaScript has as such: its shortest text has at most 17 digits and is what it means here. */
function asDecimal(value: ExactNumber): Decimal {
  if (typeof value !== 'number') {
    return value;
  }
  const [mantissa = '', exponent = '0'] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '').replace(/0+$/, '');
  return new Decimal(value < 0, digits, digits === '' ? 0 : Number(exponent) + 1);
}

function signOf({ negative, digits }: Decimal): number {
  return digits === '' ? 0 : negative ? -1 : 1;
}

function compareMagnitudes(one: Decimal, other: Decimal): number {
  if (one.magnitude !== other.magnitude) {
    return one.magnitude < other.magnitude ? -1 : 1;
  }
  // Without zeros at the end, a text that begins the other is the smaller number.
  return one.digits === other.digits ? 0 : one.digits < other.digits ? -1 : 1;
}

const maxWholeDigits = 1000;

function wholeOf(value: ExactNumber): bigint | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) {
    return BigInt(value);
  }
  const { negative, digits, magnitude } = asDecimal(value);
  return magnitude < digits.length || magnitude > maxWholeDigits
    ? undefined
    : BigInt(`${negative ? '-' : ''}${digits.padEnd(magnitude, '0')}`);
}
