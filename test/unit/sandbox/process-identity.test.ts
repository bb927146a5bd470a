import { describe, expect, it } from 'vitest';

import { identityOf, isAlive, parseIdentity, parseStat } from '../../../src/lib/sandbox/process-identity.ts';

const fields = 'S 1 42 42 0 -1 4194560 100 0 0 0 5 3 0 0 20 0 1 0 987654 1000000 250';

describe('parseStat', () => {
  it.each([
    ['an ordinary name', `42 (java) ${fields}`],
    ['a name with spaces and brackets', `42 (a) S 1 (b) ${fields}`],
    ['a line with its newline', `42 (java) ${fields}\n`],
  ])('reads pid, state and start time with %s', (_, line) => {
    expect(parseStat(line)).toEqual({ pid: 42, state: 'S', startTicks: '987654' });
  });

  it.each(['', 'x', '42 (java', '42 (java) S 1'])('is undefined for %j', (line) => {
    expect(parseStat(line)).toBeUndefined();
  });
});

describe('isAlive', () => {
  it('knows this process, and not another with the same pid', () => {
    const me = identityOf(process.pid);

    expect(me).toBeDefined();
    expect(isAlive(me!)).toBe(true);
    expect(isAlive({ ...me!, startTicks: '1' })).toBe(false);
    expect(isAlive({ ...me!, bootId: 'another boot' })).toBe(false);
  });
});

describe('parseIdentity', () => {
  it('reads what was written, and nothing else', () => {
    const identity = { pid: 1, startTicks: '2', bootId: 'b' };

    expect(parseIdentity(JSON.stringify(identity))).toEqual(identity);
    expect(parseIdentity('{"pid":"1"}')).toBeUndefined();
    expect(parseIdentity('null')).toBeUndefined();
    expect(parseIdentity('')).toBeUndefined();
  });
});
