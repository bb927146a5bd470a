import { describe, expect, test } from 'vitest';

import { addGap, addLook, trendLength, type LagTrends } from '../../src/cli/dashboard/lag-trends.ts';
import { drawArea } from '../../src/ui/braille.ts';
import { problemLines, shareOut, windowAround } from '../../src/ui/lag-screen-layout.ts';
import type { Page, PageProblem } from '../../src/ui/lag-screen-model.ts';
import { firstState, nextState, shownRows, viewState, type ScreenState } from '../../src/ui/lag-screen-state.ts';
import { events, lagReport, logs } from './dashboard-fixtures.ts';

const flat = (lines: readonly (readonly { readonly text: string }[])[]): readonly string[] =>
  lines.map((cells) => cells.map(({ text }) => text).join(''));

describe('the state', () => {
  const keys = ['a', 'b', 'c'];
  const run = (...actions: readonly Parameters<typeof nextState>[1][]): ScreenState =>
    actions.reduce(nextState, firstState);

  test('given a group that was opened in roles, when esc is pressed, then roles are back, then the overview', () => {
    const opened = run({ kind: 'view', view: 'roles' }, { kind: 'move', by: 1, keys }, { kind: 'open', keys });
    expect(opened).toMatchObject({ view: 'group', of: 'b' });
    const back = nextState(opened, { kind: 'back' });
    expect(back).toMatchObject({ view: 'roles', of: null });
    expect(viewState(back).selected).toBe('b');
    expect(nextState(back, { kind: 'back' })).toMatchObject({ view: 'overview' });
  });

  test('given the group that is opened, when c is pressed, then its charts are shown', () => {
    expect(run({ kind: 'move', by: 2, keys }, { kind: 'open', keys }, { kind: 'view', view: 'charts' })).toMatchObject({
      view: 'charts',
      of: 'c',
    });
    expect(run({ kind: 'view', view: 'brokers' }, { kind: 'view', view: 'charts' })).toMatchObject({ of: null });
  });

  test('given two views, then each keeps its own order, filter and selection', () => {
    const state = run(
      { kind: 'sort', sorts: 4 },
      { kind: 'filter' },
      { kind: 'type', text: 'x' },
      { kind: 'accept' },
      { kind: 'view', view: 'topics' },
      { kind: 'move', by: 1, keys },
    );
    expect(viewState(state)).toEqual({ selected: 'b', sort: 0, filter: '' });
    expect(viewState(nextState(state, { kind: 'back' }))).toEqual({ selected: null, sort: 1, filter: 'x' });
  });

  test('given the last sort, when s is pressed, then the order is the first one again', () => {
    expect(viewState(run({ kind: 'sort', sorts: 2 }, { kind: 'sort', sorts: 2 })).sort).toBe(0);
  });

  test('given rows, then the filter looks at every cell and the sort puts the highest first', () => {
    const row = (key: string, text: string, rank: number) => ({
      key,
      cells: [{ text, tone: 'plain' as const }],
      ranks: [rank],
      trend: [],
    });
    const rows = [row('a', 'Stable', 1), row('b', 'Empty', 3), row('c', 'stable', 2)];
    const order = (sort: number, filter: string): readonly string[] =>
      shownRows({ rows }, { selected: null, sort, filter }).map(({ key }) => key);
    expect(order(0, 'STABLE')).toEqual(['a', 'c']);
    expect(order(1, '')).toEqual(['b', 'c', 'a']);
  });
});

describe('the layout', () => {
  const problem: PageProblem = {
    level: 'fail',
    text: 'broker 3 is down',
    means: 'its replicas fall behind',
    next: 'start it',
  };
  const page: Page = {
    path: null,
    freshness: { observedAt: null, stale: null, cost: null },
    intro: [[{ text: 'intro', tone: 'dim' }]],
    lines: [],
    table: { columns: [], rows: [], sorts: [], trend: null, opens: false, empty: '' },
    charts: [],
    choices: [],
    problems: [problem, problem, problem],
  };

  test.each([
    [40, 9],
    [12, 3],
    [6, 2],
    [2, 0],
  ])('of %i lines gives problems %i', (room, expected) => {
    const shares = shareOut(page, 50, { room, width: 80 });
    expect(shares.problems).toHaveLength(expected);
    expect(shares.table + shares.intro.length + shares.lines.length + shares.problems.length).toBeLessThanOrEqual(room);
  });

  test('of problems says all of each, then less, then of how many it says nothing', () => {
    expect(flat(problemLines([problem], 80, 9))).toEqual([
      '✗ broker 3 is down',
      '  its replicas fall behind',
      '  → start it',
    ]);
    expect(flat(problemLines([problem, problem], 80, 2))).toEqual([
      '✗ broker 3 is down  → start it',
      '✗ broker 3 is down  → start it',
    ]);
    expect(flat(problemLines([problem, problem, problem], 80, 2)).at(-1)).toBe('  … and 2 more');
    expect(flat(problemLines([problem], 20, 9))).toEqual([
      '✗ broker 3 is down',
      '  its replicas',
      '  fall behind',
      '  → start it',
    ]);
  });

  test('of a long list shows the rows around the selected one', () => {
    const rows = Array.from({ length: 100 }, (_, at) => at);
    expect(windowAround(rows, 0, 5)).toEqual([0, 1, 2, 3, 4]);
    expect(windowAround(rows, 50, 5)).toEqual([48, 49, 50, 51, 52]);
    expect(windowAround(rows, 99, 5)).toEqual([95, 96, 97, 98, 99]);
    expect(windowAround(rows.slice(0, 2), 1, 5)).toEqual([0, 1]);
  });
});

describe('a chart', () => {
  test.each([
    [[0, 1, 2, 3, 4, 4, 2, 0], 4, { width: 4, height: 1 }, ['⣀⣴⣿⣄']],
    [[8, 4], 8, { width: 1, height: 2 }, ['⡇', '⣿']],
    [[null, 4], 4, { width: 2, height: 1 }, [' ⢸']],
    [[0, 0], 0, { width: 1, height: 1 }, ['⣀']],
    [[], 0, { width: 3, height: 1 }, ['   ']],
  ])('of %j up to %i is drawn as dots from the bottom, newest at the right', (points, highest, size, expected) => {
    expect(drawArea(points, highest, size)).toEqual(expected);
  });
});

describe('the trends', () => {
  test('given more looks than are kept, then the oldest go, and groups that are gone are forgotten', () => {
    let trends: LagTrends = new Map();
    for (let look = 0; look < trendLength + 10; look += 1) {
      trends = addLook(trends, lagReport([{ ...events, lagRecords: look }, logs]), look);
    }
    trends = addGap(trends, trendLength + 10);
    expect(trends.get('kpipe-events')).toHaveLength(trendLength);
    expect(trends.get('kpipe-events')?.at(-1)?.lagRecords).toBeNull();
    expect(trends.get('kpipe-events')?.at(-2)?.lagRecords).toBe(trendLength + 9);
    expect([...addLook(trends, lagReport([logs]), 0).keys()]).toEqual(['kpipe-logs']);
  });
});
