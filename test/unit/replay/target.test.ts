import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import { parseOffsetsFile, parseTarget } from '../../../src/lib/replay/target.ts';

const nowMs = Date.parse('2026-02-14T12:00:00Z');

describe('--to', () => {
  test.each([
    ['earliest', { kind: 'earliest' }],
    ['start', { kind: 'earliest' }],
    ['latest', { kind: 'latest' }],
    ['1200', { kind: 'offset', offset: 1200n }],
    ['9007199254740993', { kind: 'offset', offset: 9_007_199_254_740_993n }],
    ['+100', { kind: 'shift', by: 100n }],
    ['-100', { kind: 'shift', by: -100n }],
    ['-2h', { kind: 'time', timestampMs: nowMs - 7_200_000 }],
    ['@-2h', { kind: 'time', timestampMs: nowMs - 7_200_000 }],
    ['@2026-02-14T09:30:00Z', { kind: 'time', timestampMs: Date.parse('2026-02-14T09:30:00Z') }],
    ['@2026-02-14T09:30:00+01:00', { kind: 'time', timestampMs: Date.parse('2026-02-14T08:30:00Z') }],
    ['@2026-02-14T09:30:00', { kind: 'time', timestampMs: Date.parse('2026-02-14T09:30:00Z') }],
    ['@2026-02-14', { kind: 'time', timestampMs: Date.parse('2026-02-14T00:00:00Z') }],
    ['file:./a,b.csv', { kind: 'file', path: './a,b.csv' }],
    ['group:other:group', { kind: 'group', group: 'other:group' }],
  ])('%s', (text, target) => {
    expect(parseTarget(text, nowMs)).toEqual(target);
  });

  test.each([
    '',
    'soon',
    '2h',
    '+2h',
    '-',
    '@',
    '@+3',
    '1.5',
    '0x10',
    'file:',
    'group:',
    '@2026-02-30T00:00:00Z',
    '99999999999999999999',
  ])('refuses %s as usage, with what may be written', (text) => {
    const thrown = thrownBy(() => parseTarget(text, nowMs));
    expect(thrown).toMatchObject({ code: 'KPIPE_USAGE', exitCode: 2 });
    expect(thrown.next).toContain('@2026-02-14T09:30:00Z');
  });
});

describe('a file of offsets', () => {
  test('is read as Kafka exports it; other topics, comments and empty lines do not count', () => {
    const text = '# exported\n"events",0,12\r\nevents, 2 , 9007199254740993\n\nlogs,0,7\n';
    expect(parseOffsetsFile(text, 'events')).toEqual(
      new Map([
        [0, 12n],
        [2, 9_007_199_254_740_993n],
      ]),
    );
  });

  test.each([
    ['events,0\n', /line 1 is not topic,partition,offset/],
    ['events,0,1\nevents,0,-1\n', /line 2 is not/],
    ['events,0,1\nevents,0,2\n', /line 2 names partition 0 a second time/],
    ['logs,0,1\n', /no line about topic events/],
  ])('refuses %j', (text, message) => {
    expect(thrownBy(() => parseOffsetsFile(text, 'events'))).toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(message) as string,
    });
  });
});

function thrownBy(work: () => unknown): KpipeError {
  try {
    work();
  } catch (error) {
    if (error instanceof KpipeError) {
      return error;
    }
    throw error;
  }
  throw new Error('nothing was thrown');
}
