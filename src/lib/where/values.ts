import { compareNumbers, Decimal, parseNumber, type ExactNumber } from './numbers.ts';

/** What an expression computes with. Whatever is missing is null. */
export type Value = null | boolean | string | ExactNumber | List | Members;
export type List = readonly Value[];
export type Members = { readonly [name: string]: Value };

export function isNumber(value: Value): value is ExactNumber {
  return typeof value === 'number' || value instanceof Decimal;
}

export function isList(value: Value): value is List {
  return Array.isArray(value);
}

export function isMembers(value: Value): value is Members {
  return typeof value === 'object' && value !== null && !isList(value) && !(value instanceof Decimal);
}

/** Of different kinds: not equal. Lists and objects equal nothing, not even themselves: compare what is in them. */
export function equal(left: Value, right: Value): boolean {
  if (isNumber(left)) {
    return isNumber(right) && compareNumbers(left, right) === 0;
  }
  return left === right && !isList(left) && !isMembers(left);
}

/** Two numbers or two texts in their order; anything else has none. */
export function ordered(left: Value, right: Value, holds: (order: number) => boolean): boolean {
  if (isNumber(left) && isNumber(right)) {
    return holds(compareNumbers(left, right));
  }
  if (typeof left === 'string' && typeof right === 'string') {
    return holds(left < right ? -1 : left === right ? 0 : 1);
  }
  return false;
}

/** An object's own member by name, a list's by position; else null. Nothing inherited is ever seen. */
export function memberOf(value: Value, name: Value): Value {
  return hasMember(value, name) ? (readMember(value, name) ?? null) : null;
}

export function hasMember(value: Value, name: Value): boolean {
  if (isList(value)) {
    return typeof name === 'number' && Number.isInteger(name) && name >= 0 && name < value.length;
  }
  return isMembers(value) && typeof name === 'string' && Object.hasOwn(value, name);
}

function readMember(value: Value, name: Value): Value | undefined {
  if (isList(value)) {
    return typeof name === 'number' ? value[name] : undefined;
  }
  return isMembers(value) && typeof name === 'string' ? value[name] : undefined;
}

/** More digits in a row, or an exponent: what a double may not hold. Digits inside of strings only cost time. */
const maybeInexact = /[\d.]{16}|\d[eE]/;

/** What a JSON text says, its numbers exact; undefined when it is not JSON. Of repeated names the last one counts. */
export function parseJson(text: string): Value | undefined {
  try {
    const parsed: unknown = maybeInexact.test(text)
      ? JSON.parse(text, (_name, value: unknown, context?: { readonly source?: string }) =>
          typeof value === 'number' ? (parseNumber(context?.source ?? '') ?? value) : value,
        )
      : JSON.parse(text);
    return isValue(parsed) ? parsed : undefined;
  } catch {
    // Not JSON, or nested deeper than the stack goes.
    return undefined;
  }
}

/** What JSON.parse returns is a value: there is nothing else in JSON. */
function isValue(parsed: unknown): parsed is Value {
  return parsed !== undefined;
}
