import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import { alertProblems, evaluateFailOn, parseFailOn } from '../../../src/lib/offsets/fail-on.ts';
import { groupLag } from './lag-fixtures.ts';

const failing = (expression: string, over: Parameters<typeof groupLag>[0] = {}): readonly string[] =>
  evaluateFailOn(parseFailOn(expression), [groupLag(over)]).failed.map(
    ({ condition, actual }) => `${condition} ${actual}`,
  );

describe('conditions', () => {
  test('are metrics, operators and limits in the units of the metric', () => {
    expect(parseFailOn('time>5m, loss<6h,lag>=1k,status>=warn,members<1')).toEqual([
      { metric: 'time', operator: '>', limit: 300_000, text: 'time>5m' },
      { metric: 'loss', operator: '<', limit: 21_600_000, text: 'loss<6h' },
      { metric: 'lag', operator: '>=', limit: 1000, text: 'lag>=1k' },
      { metric: 'status', operator: '>=', limit: 2, text: 'status>=warn' },
      { metric: 'members', operator: '<', limit: 1, text: 'members<1' },
    ]);
  });

  test.each([
    '',
    'time',
    'tme>5m',
    'time>5',
    'time>>5m',
    'lag>5m',
    'status>=bad',
    'time>5m,',
    'lag>-1',
    'constructor>1',
  ])('%j is refused as wrong usage, naming the condition', (expression) => {
    let thrown: unknown;
    try {
      parseFailOn(expression);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(KpipeError);
    expect(thrown).toMatchObject({
      code: 'KPIPE_USAGE',
      exitCode: 2,
      message: expect.stringContaining('--fail-on') as unknown,
    });
  });
});

describe('a group fails', () => {
  test('by any condition that holds, with the figure that failed it', () => {
    const over = { timeLagMs: 723_000, lagRecords: 88_310, lossInMs: 10_800_000, status: 'stall' } as const;
    expect(failing('time>5m,loss<6h,lag>100k,status>=warn', over)).toEqual([
      'time>5m 12m3s',
      'loss<6h 3h',
      'status>=warn stall',
    ]);
  });

  test('not at the limit itself', () => {
    expect(failing('lag>1000', { lagRecords: 1000 })).toEqual([]);
    expect(failing('lag>=1000', { lagRecords: 1000 })).toEqual(['lag>=1000 1000']);
  });

  test('by a lag that never drains, whatever the limit', () => {
    expect(failing('drain>99d', { drainMs: null, unknown: { drainMs: 'never' } })).toEqual(['drain>99d never']);
  });

  test('by nothing that is not known; that is told apart', () => {
    const unknown = groupLag({
      lagRecords: null,
      timeLagMs: null,
      status: 'unknown',
      reason: 'never started',
      unknown: { timeLagMs: 'no position yet' },
    });
    const { failed, unjudged } = evaluateFailOn(parseFailOn('time>5m,time<5m,lag>0,status>=warn'), [unknown]);
    expect(failed).toEqual([]);
    expect(unjudged.map(({ condition, actual }) => [condition, actual])).toEqual([
      ['time>5m', 'no position yet'],
      ['time<5m', 'no position yet'],
      ['lag>0', 'not known'],
      ['status>=warn', 'never started'],
    ]);
  });

  test('by not being known where somebody asks for that', () => {
    expect(failing('status>=unknown', { status: 'unknown' })).toEqual(['status>=unknown unknown']);
  });
});

describe('alerts', () => {
  const problems = (over: Parameters<typeof groupLag>[0], alerts = { time: 300_000, lossIn: 21_600_000 }) =>
    alertProblems([groupLag(over)], alerts).map(({ condition, actual }) => `${condition} ${actual}`);

  test.each([
    ['a group that is well', {}, []],
    ['records that expired unread', { lostRecords: 3 }, ['lost>0 3']],
    ['a group that stands still', { status: 'stop' as const, reason: 'no commit' }, ['status>=stall stop']],
    ['one that falls behind for now', { status: 'warn' as const, reason: 'lag grows' }, []],
    ['a lag in time beyond the alert', { lagRecords: 9, timeLagMs: 360_000 }, ['time>5m 6m']],
    ['a loss that is near', { lagRecords: 9, lossInMs: 3_600_000 }, ['loss<6h 1h']],
    ['nothing unread, and a short retention', { lagRecords: 0, lossInMs: 3_600_000 }, []],
    ['what is not known', { lagRecords: null, timeLagMs: null, status: 'unknown' as const }, []],
  ])('%s', (_, over, expected) => {
    expect(problems(over)).toEqual(expected);
  });

  test('what kpipe.yaml has no alert for is no problem', () => {
    expect(alertProblems([groupLag({ lagRecords: 9, timeLagMs: 360_000, lossInMs: 1000 })], {})).toEqual([]);
  });
});
