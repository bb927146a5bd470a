import { cleanup, render } from 'ink-testing-library';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { LagScreenFeed } from '../../src/cli/lag-screen-feed.ts';
import { KpipeError } from '../../src/lib/errors.ts';
import { Pace } from '../../src/lib/offsets/follow.ts';
import type { GroupLag, LagReport, PartitionLag } from '../../src/lib/offsets/lag-report.ts';
import { LagScreen } from '../../src/ui/lag-screen.tsx';
import { sparkline } from '../../src/ui/sparkline.ts';
import { groupLag } from '../unit/offsets/lag-fixtures.ts';

const keys = { up: '\u001b[A', down: '\u001b[B', enter: '\r', escape: '\u001b' } as const;

function partitionLag(partition: number, over: Partial<PartitionLag> = {}): PartitionLag {
  return {
    topic: 'events',
    partition,
    committedOffset: 90n,
    position: 90n,
    highWatermark: 100n,
    logStartOffset: 0n,
    lagRecords: 10,
    timeLagMs: 1900,
    timeLagMethod: 'record',
    inPerSec: 1,
    outPerSec: 1,
    lossInMs: 600_000_000,
    lostRecords: 0,
    member: 'shop@10.0.0.1',
    status: 'ok',
    reason: null,
    unknown: {},
    ...over,
  };
}

const events = groupLag({
  role: 'events',
  group: 'kpipe-events',
  lagRecords: 1204,
  timeLagMs: 1900,
  inPerSec: 4100,
  outPerSec: 4300,
  drainMs: 6000,
  partitions: [partitionLag(0), partitionLag(1, { lagRecords: 1194, status: 'warn' })],
});
const logs = groupLag({
  role: 'logs',
  group: 'kpipe-logs',
  lagRecords: 88_310,
  timeLagMs: 252_000,
  timeLagMethod: 'estimate',
  drainMs: null,
  unknown: { drainMs: 'never' },
  status: 'warn',
  reason: 'the lag grows: 1 to 2 records',
  partitions: [],
});
const analytics = groupLag({
  role: 'analytics',
  group: 'kpipe-analytics',
  state: 'Empty',
  members: 0,
  lagRecords: 2_100_000,
  timeLagMs: 248_400_000,
  lossInMs: 10_800_000,
  status: 'stop',
  reason: 'no commit for 2d21h',
  partitions: [],
});

function report(roles: readonly GroupLag[], over: Partial<LagReport> = {}): LagReport {
  const cost = { requests: 12, ms: 34 };
  return {
    observedAt: '2026-05-01T14:02:11.123Z',
    clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
    roles,
    notes: [],
    cost,
    ...over,
  };
}

interface Screen {
  readonly feed: LagScreenFeed;
  readonly pace: Pace;
  readonly frame: () => readonly string[];
  readonly press: (...pressed: readonly string[]) => void;
  /** Waits until the frame holds the pattern. */
  readonly shows: (pattern: RegExp) => Promise<void>;
}

/** A screen on a terminal of 100 columns, as ink-testing-library has it. */
function screen(...looks: readonly LagReport[]): Screen {
  const pace = new Pace(2000);
  const feed = new LagScreenFeed({ title: 'shop', pace, lossAlarmMs: 6 * 3_600_000 });
  for (const look of looks) {
    feed.show({ kind: 'report', report: look });
  }
  const app = render(<LagScreen feed={feed} />);
  const frame = (): readonly string[] => (app.lastFrame() ?? '').split('\n');
  return {
    feed,
    pace,
    frame,
    press: (...pressed) => {
      for (const key of pressed) {
        app.stdin.write(key);
      }
    },
    shows: (pattern) => vi.waitFor(() => expect(frame().join('\n')).toMatch(pattern)),
  };
}

afterEach(cleanup);

describe('the overview', () => {
  test('shows a group a line, worst news below', async () => {
    const { frame, shows } = screen(report([events, logs, analytics]));
    await shows(/analytics/);
    const lines = frame();
    expect(lines[0]).toMatch(/^kpipe lag {2}shop {2}14:02:11Z {2}every 2s/);
    expect(lines[1]?.split(/\s+/).filter(Boolean).slice(0, 10)).toEqual([
      'ROLE',
      'GROUP',
      'STATE',
      'LAG',
      'TIME',
      'IN/s',
      'OUT/s',
      'DRAIN',
      'LOSS-IN',
      'STATUS',
    ]);
    expect(lines[2]).toMatch(/^› events +kpipe-events +Stable 3 +1,204 +1\.9s +4\.1k +4\.3k +6s +7d +OK/);
    expect(lines[3]).toMatch(/^ {2}logs .* 88,310 +~4m12s .* never /);
    expect(lines[4]).toMatch(/^ {2}analytics +kpipe-analytics +Empty +2\.1M +2d21h .* ! 3h +ERR STOP/);
    const text = lines.join('\n');
    expect(text.indexOf('! analytics: no commit for 2d21h')).toBeGreaterThan(0);
    expect(text.indexOf('! analytics')).toBeLessThan(text.indexOf('! logs: the lag grows'));
    expect(lines.at(-1)).toContain('q quit');
  });

  test('shows what is not known as ?, never as 0', async () => {
    const never = groupLag({
      lagRecords: null,
      timeLagMs: null,
      inPerSec: null,
      outPerSec: null,
      drainMs: null,
      lossInMs: null,
      status: 'unknown',
      state: null,
    });
    const { frame, shows } = screen(report([never]));
    await shows(/kpipe-events/);
    expect(
      frame()[2]
        ?.split(/\s+/)
        .filter((cell) => cell === '?'),
    ).toHaveLength(8);
    expect(frame()[2]).not.toMatch(/\d/);
  });

  test('never prints what data holds as it is', async () => {
    const evil = groupLag({
      role: null,
      group: 'evil\u001b[2J\u202egroup',
      reason: 'line\nbreak\u0007',
      status: 'stop',
    });
    const { frame, shows } = screen(report([evil], { notes: ['note\r\u001b]0;title\u0007'] }));
    await shows(/evil/);
    const text = frame().join('\n');
    expect(text).toContain(String.raw`evil\e[2J\u{202e}group`);
    expect(text).toContain(String.raw`line\nbreak\x07`);
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });
});

describe('keys', () => {
  test('↓ and enter open the partitions of a group, esc goes back', async () => {
    const { press, shows, frame } = screen(report([analytics, events]));
    await shows(/› analytics/);
    press(keys.down);
    await shows(/› events/);
    press(keys.enter);
    await shows(/shop › kpipe-events/);
    expect(frame()[1]).toMatch(/TOPIC +P .*LAG/);
    expect(frame()[2]).toMatch(/^› events +0 .* 10 .*OK/);
    expect(frame()[3]).toMatch(/^ {2}events +1 .* 1,194 .*WARN/);
    press(keys.escape);
    await shows(/› events +kpipe-events/);
  });

  test('the selection stays with its group when the order changes, and at the ends', async () => {
    const { press, shows } = screen(report([events, logs, analytics]));
    await shows(/› events/);
    press(keys.up, keys.down, keys.down, keys.down, keys.down);
    await shows(/› analytics/);
    press('s');
    await shows(/by lag[^]*› analytics[^]*logs[^]*events/);
  });

  test('several keys at once each count', async () => {
    const { press, shows } = screen(report([events, logs]));
    await shows(/› events/);
    press('ssp');
    await shows(/by time {2}PAUSED/);
  });

  test('p pauses the looks, + and − change their interval', async () => {
    const { press, shows, pace } = screen(report([events]));
    await shows(/every 2s/);
    press('p');
    await shows(/PAUSED/);
    expect(pace.paused).toBe(true);
    press('+');
    await shows(/every 5s/);
    press('-', '-');
    await shows(/every 1s/);
    expect(pace.intervalMs).toBe(1000);
  });

  test('? explains the columns', async () => {
    const { press, shows } = screen(report([events]));
    await shows(/events/);
    press('?');
    await shows(/LOSS-IN {2}until unread records begin to expire/);
    press(keys.escape);
    await shows(/› events/);
  });
});

describe('a look that fails', () => {
  test('leaves the last one on the screen, as stale, until the next one succeeds', async () => {
    const { feed, shows, frame } = screen(report([events]));
    await shows(/1,204/);
    feed.show({ kind: 'failed', error: new KpipeError('KPIPE_KAFKA_UNREACHABLE', 'no Kafka broker answered') });
    await shows(/STALE: no Kafka broker answered/);
    expect(frame()[2]).toContain('1,204');
    feed.show({ kind: 'report', report: report([groupLag({ lagRecords: 7 })]) });
    await vi.waitFor(() => expect(frame().join('\n')).not.toContain('STALE'));
    expect(frame()[2]).toMatch(/ 7 /);
  });
});

describe('the lag over time', () => {
  test('is drawn from the looks', async () => {
    const { shows } = screen(...[0, 50, 100].map((lagRecords) => report([groupLag({ lagRecords })])));
    await shows(/▁▅█/);
  });

  test.each([
    [[0, 0, 0], 3, '▁▁▁'],
    [[1, null, 8], 3, '▂ █'],
    [[8], 3, '  █'],
    [[1, 2, 3, 4], 2, '▆█'],
    [[], 2, '  '],
  ])('of %j in %i columns is %j', (values, width, expected) => {
    expect(sparkline(values, width)).toBe(expected);
  });
});
