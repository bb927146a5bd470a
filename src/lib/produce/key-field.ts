import { KpipeError } from '../errors.ts';
import { JsonScanner, type Member } from '../records/json-scan.ts';
import { keyOf, textStart } from '../records/text.ts';

export type KeyOutcome =
  | { readonly kind: 'key'; readonly key: Buffer }
  /** Without content of the record. */
  | { readonly kind: 'none'; readonly problem: string };

/**
 * Takes a record's key from a field of its JSON, `data.orderId`: a string's text, or a number, true or false as it is
 * written (9007199254740993 stays that). Null, objects and arrays are no key.
 * @throws KPIPE_USAGE: the path has an empty part
 */
export function keyFromField(path: string): (value: Buffer) => KeyOutcome {
  const names = path.split('.');
  if (names.some((name) => name === '')) {
    throw new KpipeError('KPIPE_USAGE', `--key ${path} is not a field`, { next: 'write it as in --key data.orderId' });
  }
  const scanner = new JsonScanner({ maxDepth: 5000 });
  return (value) => {
    const start = textStart(value);
    const fault = start === null ? 'invalid_utf8' : scanner.scan(value, start, value.length);
    if (fault !== null) {
      return { kind: 'none', problem: `the record is not JSON (${fault})` };
    }
    const member = memberAt(value, scanner, names);
    return member === undefined
      ? { kind: 'none', problem: `the record has no ${path}` }
      : keyOfMember(value, member, path);
  };
}

function memberAt(value: Buffer, scanner: JsonScanner, names: readonly string[]): Member | undefined {
  let found: Member | undefined;
  for (const [depth, name] of names.entries()) {
    if (depth > 0) {
      if (found === undefined) {
        return undefined;
      }
      // A part of a valid document: it cannot be at fault.
      scanner.scan(value, found.valueStart, found.valueEnd);
    }
    // Of repeated names the last one counts, as in JSON.parse and jsonb.
    const member =
      scanner.kind === 'object'
        ? scanner.members.slice(0, scanner.memberCount).findLast((each) => keyOf(value, each) === name)
        : undefined;
    found = member === undefined ? undefined : { ...member };
  }
  return found;
}

function keyOfMember(value: Buffer, member: Member, path: string): KeyOutcome {
  switch (member.kind) {
    case 'string': {
      if (!member.escaped) {
        return { kind: 'key', key: value.subarray(member.valueStart + 1, member.valueEnd - 1) };
      }
      const text: unknown = JSON.parse(value.toString('utf8', member.valueStart, member.valueEnd));
      return { kind: 'key', key: Buffer.from(String(text)) };
    }
    case 'number':
    case 'true':
    case 'false':
      return { kind: 'key', key: value.subarray(member.valueStart, member.valueEnd) };
    case 'null':
    case 'object':
    case 'array':
      return { kind: 'none', problem: `${path} is a JSON ${member.kind}, which is no key` };
  }
}
