import { afterEach, describe, expect, test, vi } from 'vitest';

import { LagScreenFeed } from '../../src/cli/lag-screen-feed.ts';
import type { ProbeRole } from '../../src/lib/dashboard/active-probe.ts';
import { DashboardPaces, type DashboardPart } from '../../src/lib/dashboard/paces.ts';
import type { DashboardState } from '../../src/lib/dashboard/watch.ts';
import type { GroupLag, LagReport } from '../../src/lib/offsets/lag-report.ts';
import { LagScreen } from '../../src/ui/lag-screen.tsx';
import { sparkline } from '../../src/ui/sparkline.ts';
import { groupLag } from '../unit/offsets/lag-fixtures.ts';
import {
  analytics,
  brokerDown,
  events,
  lagReport,
  logs,
  notSeen,
  nowMs,
  processes,
  replicas,
  seen,
  state,
} from './dashboard-fixtures.ts';
import { keys, openTerminal, type FakeTerminal } from './fake-terminal.ts';

// Frames take their time where many tests run at once.
vi.setConfig({ testTimeout: 60_000 });

interface Screen extends FakeTerminal {
  readonly feed: LagScreenFeed;
  readonly paces: DashboardPaces;
  readonly show: (part: DashboardPart, over?: Partial<DashboardState>) => void;
  readonly probed: readonly ProbeRole[];
  readonly at: (ms: number) => void;
}

const opened: FakeTerminal[] = [];

afterEach(() => {
  opened.splice(0).forEach((terminal) => terminal.close());
});

function open(first: DashboardState, { columns = 100, rows = 24 } = {}): Screen {
  const paces = new DashboardPaces(2000);
  const probed: ProbeRole[] = [];
  let now = nowMs;
  const feed = new LagScreenFeed({
    title: 'shop',
    paces,
    lossAlarmMs: 6 * 3_600_000,
    now: () => now,
    probe: (role) => probed.push(role),
  });
  feed.show(first, 'lag');
  const terminal = openTerminal(<LagScreen feed={feed} />, columns, rows);
  opened.push(terminal);
  return {
    ...terminal,
    feed,
    paces,
    probed,
    show: (part, over = {}) => feed.show(state(over), part),
    at: (ms) => {
      now = ms;
    },
  };
}

const openWith = (...roles: readonly GroupLag[]): Screen => open(state({ lag: seen(lagReport(roles)) }));

describe('the overview', () => {
  test('shows a group a line, worst news with what to do below', async () => {
    const { frame, shows } = openWith(events, logs, analytics);
    await shows(/analytics/);
    const lines = frame();
    expect(lines[0]).toMatch(/^kpipe lag {2}shop {2}14:02:11Z {2}every 2s +12 requests 34ms$/);
    expect(lines[1]).toBe('✓ brokers 3/3 controller 2  ·  no replica configured  ·  no backups configured');
    expect(lines[2]).toMatch(/^ {2}ROLE +GROUP +STATE +LAG +TIME +IN\/s +OUT\/s +DRAIN +LOSS-IN +STATUS/);
    expect(lines[3]).toMatch(/^› events +kpipe-events +Stable 3 +1,204 +1\.9s +4\.1k +4\.3k +6s +7d +OK/);
    expect(lines[4]).toMatch(/^ {2}logs .* 88,310 +~4m12s .* never /);
    expect(lines[5]).toMatch(/^ {2}analytics +kpipe-analytics +Empty +2\.1M +2d21h .* ! 3h +ERR STOP/);
    const text = lines.join('\n');
    expect(text).toContain('✗ analytics: no commit for 2d21h  → kpipe consume analytics');
    expect(text).toContain('! logs: the lag grows: 1 to 2 records  → kpipe groups describe kpipe-logs');
    expect(text.indexOf('✗ analytics')).toBeLessThan(text.indexOf('! logs'));
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
    const { frame, shows } = openWith(never);
    await shows(/› events +kpipe-events/);
    const line = frame().find((each) => each.startsWith('›')) ?? '';
    expect(line.split(/\s+/).filter((cell) => cell === '?')).toHaveLength(8);
    expect(line).not.toMatch(/\d/);
  });

  test('never prints what data holds as it is', async () => {
    const evil = groupLag({
      role: null,
      group: 'evil\u001b[2J\u202egroup',
      reason: 'line\nbreak\u0007',
      status: 'stop',
    });
    const screen = open(state({ lag: seen(lagReport([evil], { notes: ['note\r\u001b]0;title\u0007'] })) }));
    await screen.shows(/evil/);
    const text = screen.frame().join('\n');
    expect(text).toContain(String.raw`evil\e[2J\u{202e}group`);
    expect(text).toContain(String.raw`line\nbreak\x07`);
    expect(screen.written()).not.toMatch(/\u001b\[2J|\u001b\]|\u0007|\u202e/);
  });

  test('has room for the charts of the selected group on a tall terminal, and on a low one not', async () => {
    const { shows, resize, press } = open(state(), { rows: 40 });
    expect(await shows(/kpipe-events {2}LAG 1\.2k records/)).toMatch(/┤.*[⠁-⣿]/);
    press(keys.down);
    await shows(/kpipe-logs {2}LAG/);
    resize(100, 16);
    await vi.waitFor(async () => expect(await shows(/q quit/)).not.toContain('┤'));
  });
});

describe('views', () => {
  test('t shows topics, enter one topic’s partitions, esc goes back', async () => {
    const { press, shows } = open(state());
    press('t');
    const topics = await shows(/› events +3 +1k +100 kB +2\.4× +HOT 1/);
    expect(topics).toMatch(/\[t topics\]/);
    expect(topics).toMatch(/idle +1 +0 +\? +–/);
    expect(topics).toContain('! events: hot partition 1 takes 80 %');
    expect(topics).toContain('→ kpipe tail events --max 20');
    press(keys.enter);
    const topic = await shows(/shop › events/);
    expect(topic).toMatch(/ 1 +1 +800 +80 kB +80 % +█{20} +HOT/);
    expect(topic).toMatch(/ 0 +1 +100 +10 kB +10 % +█{3}\n/);
    press(keys.escape);
    await shows(/› events +3/);
    press(keys.escape);
    await shows(/› events +kpipe-events/);
  });

  test('b shows brokers, each problem with what it means and what to do, and enter the disks', async () => {
    const { press, shows, show } = open(state());
    show('brokers', { brokers: seen(brokerDown()) });
    press('b');
    const brokers = await shows(/\[b brokers\]/);
    expect(brokers).toContain('✗ brokers 2/3 controller 2 12 under-replicated');
    expect(brokers).toMatch(/› +1 +10\.0\.0\.1:9092 .*71 % +79\.2 GB +OK/);
    expect(brokers).toMatch(/3 +10\.0\.0\.3:9092.* ERR DOWN/);
    expect(brokers).toContain('12 partitions of 3 topics: 12 at min ISR, 12 under-replicated');
    expect(brokers).toMatch(/✗ BROKER_DOWN broker 3 is not registered\n +its replicas fall behind\n +→ start broker 3/);
    press(keys.enter);
    await shows(/shop › broker 1[^]*\/data\/kafka-1 +91\.4 MB +70\.7 % +79\.2 GB/);
  });

  test('l shows what the roles measure, or why it is not known', async () => {
    const { press, shows, show } = open(state());
    press('l');
    expect(await shows(/› events +\? +\? +\? +\? +\? +\? +1\.9s/)).toContain(
      'not known: no address of a role’s metrics was given',
    );
    show('processes', { processes: seen(processes) });
    const known = await shows(/› events +1 +≤ 250ms +> 1h +240 +1m +4\.3k +1\.9s/);
    expect(known).toContain('! http://10.0.0.2:9464: connect ECONNREFUSED');
  });

  test('probes are sent only by a key of the latency view, and shown', async () => {
    const { press, shows, probed, feed } = open(state());
    await shows(/› events/);
    press('a', 'e');
    press('l');
    await shows(/a 20 probes at 20\/s through a topic that is made and deleted again/);
    expect(probed).toEqual([]);
    press('a');
    press('e');
    expect(probed).toEqual([null, 'events']);
    feed.showProbe({ kind: 'running', role: null, sent: 5 });
    await shows(/probing a topic of its own: 5 of 20 sent/);
    feed.showProbe({
      kind: 'failed',
      role: 'events',
      message: 'role events does not run',
      next: 'kpipe consume events',
    });
    await shows(/! probing role events: role events does not run {2}→ kpipe consume events/);
  });

  test('r shows the roles’ groups and processes', async () => {
    const { press, shows, show } = open(state());
    show('processes', { processes: seen(processes) });
    press('r');
    const roles = await shows(/\[r roles\]/);
    expect(roles).toMatch(/› events +kpipe-events .*Stable 3 +2 of 2 .*1 of 1 +2 +OK/);
    expect(roles).toContain('✓ http://10.0.0.1:9464 events: 6 of 6 partitions claimed');
    expect(roles).toContain('✗ http://10.0.0.2:9464');
  });

  test('c draws the selected group over time, ↑↓ go to another', async () => {
    const { press, shows, show } = open(state());
    for (const lagRecords of [10, 20, 40]) {
      show('lag', { lag: seen(lagReport([{ ...events, lagRecords }, logs])) });
    }
    press(keys.down);
    press('c');
    await shows(/shop › kpipe-logs[^]*LAG 88\.3k records/);
    press(keys.up);
    const charts = await shows(/shop › kpipe-events[^]*LAG 40 records/);
    expect(charts).toMatch(/IN 4\.1k records\/s[^]*OUT 4\.3k records\/s/);
    expect(charts).toMatch(/1\.2k ┤[^]*0 ┼.*[⠁-⣿]/);
    expect(charts).toMatch(/now/);
  });
});

describe('keys', () => {
  test('↓ and enter open the partitions of a group, esc goes back', async () => {
    const { press, shows, frame } = openWith(analytics, events);
    await shows(/› analytics/);
    press(keys.down);
    await shows(/› events/);
    press(keys.enter);
    await shows(/shop › kpipe-events/);
    expect(frame()[2]).toMatch(/TOPIC +P .*LAG/);
    expect(frame()[3]).toMatch(/^› events +0 .* 10 .*OK/);
    expect(frame()[4]).toMatch(/^ {2}events +1 .* 1,194 .*WARN/);
    press(keys.escape);
    await shows(/› events +kpipe-events/);
  });

  test('the selection stays with its group when the order changes, and at the ends', async () => {
    const { press, shows } = openWith(events, logs, analytics);
    await shows(/› events/);
    press(keys.up, keys.end);
    await shows(/› analytics/);
    press('s');
    await shows(/by lag[^]*› analytics[^]*logs[^]*events/);
  });

  test('several keys in one input each count, in the view that the one before opened', async () => {
    const { press, shows } = openWith(events, logs);
    await shows(/› events/);
    press('ssp');
    await shows(/by time {2}PAUSED/);
    press('tss');
    await shows(/by skew {2}PAUSED/);
  });

  test('/ filters by any column; while it is typed, letters are no commands', async () => {
    const { press, shows, frame } = openWith(events, logs, analytics);
    await shows(/› events/);
    press('/');
    await shows(/^\/▏/m);
    press('qsx');
    await shows(/^\/qsx▏[^]*|nothing matches the filter/m);
    press(keys.backspace, keys.backspace, keys.backspace, 'LO');
    await shows(/› logs/);
    press(keys.enter);
    const filtered = await shows(/\/LO\b/);
    expect(filtered).not.toContain('kpipe-analytics');
    expect(frame().filter((line) => /^. (events|logs) /.test(line))).toHaveLength(1);
    press(keys.escape);
    await shows(/kpipe-analytics/);
  });

  test('a text with Enter and Backspace in one input is typed, corrected and kept', async () => {
    const { press, shows } = openWith(events, logs, analytics);
    await shows(/› events/);
    press('/loX\u007fg\r');
    const filtered = await shows(/ {2}\/log\b/);
    expect(filtered).not.toContain('kpipe-analytics');
    press('\r');
    await shows(/shop › kpipe-logs/);
  });

  test('p pauses every look, + and − change their interval', async () => {
    const { press, shows, paces } = openWith(events);
    await shows(/every 2s/);
    press('p');
    await shows(/PAUSED/);
    expect(paces.of('lag').paused).toBe(true);
    expect(paces.of('replica').paused).toBe(true);
    press('+');
    await shows(/every 5s/);
    press('-', '-');
    await shows(/every 1s/);
    expect(paces.of('lag').intervalMs).toBe(1000);
  });

  test('only what the open view shows is looked at every interval', async () => {
    const { press, shows, paces } = openWith(events);
    await shows(/› events/);
    const looked = (): readonly string[] =>
      (['lag', 'topics', 'brokers', 'stores'] as const).map((part) =>
        paces.of(part).paused ? `${part} –` : `${part} ${paces.of(part).intervalMs}`,
      );
    expect(looked()).toEqual(['lag 2000', 'topics –', 'brokers 15000', 'stores –']);
    press('t');
    await vi.waitFor(() => expect(looked()).toEqual(['lag 10000', 'topics 2000', 'brokers 15000', 'stores –']));
    press('b');
    await vi.waitFor(() => expect(looked()).toEqual(['lag 10000', 'topics –', 'brokers 2000', 'stores –']));
    press('r');
    await vi.waitFor(() => expect(looked()).toEqual(['lag 2000', 'topics –', 'brokers 15000', 'stores 10000']));
  });

  test('? explains the columns of the view and the keys', async () => {
    const { press, shows } = openWith(events);
    await shows(/events/);
    press('?');
    await shows(/LOSS-IN +until unread records begin to expire[^]*q {2}Ctrl-C +quit/);
    press(keys.escape);
    await shows(/› events/);
    press('b?');
    await shows(/OUT OF SYNC +of its replicas/);
  });
});

describe('what cannot be looked at', () => {
  const failure = 'no Kafka broker answered';

  test('leaves the last look on the screen, as stale with its age, until the next one succeeds', async () => {
    const { show, shows, frame, at, feed } = openWith(events);
    await shows(/1,204/);
    at(nowMs + 14_000);
    show('lag', { lag: seen<LagReport>(lagReport([events]), { failure, failedLooks: 1 }) });
    await shows(/STALE 14s: no Kafka broker answered/);
    expect(frame()[3]).toContain('1,204');
    at(nowMs + 20_000);
    feed.tick();
    await shows(/STALE 20s/);
    show('lag', { lag: seen(lagReport([groupLag({ lagRecords: 7 })]), { seenAtMs: nowMs + 20_000 }) });
    await vi.waitFor(() => expect(frame().join('\n')).not.toContain('STALE'));
    expect(frame()[3]).toMatch(/ 7 /);
  });

  test('a look that does not come back is called late, a pause is not', async () => {
    const { shows, frame, at, feed, press } = openWith(events);
    await shows(/1,204/);
    at(nowMs + 15_000);
    feed.tick();
    await shows(/STALE 15s: no answer yet/);
    press('p');
    await vi.waitFor(() => expect(frame()[0]).toMatch(/PAUSED/));
    expect(frame()[0]).not.toMatch(/STALE/);
  });

  test('each part fails alone, in the header and in its view', async () => {
    const { show, shows, press } = openWith(events);
    const failed = { failure: 'password authentication failed', failedLooks: 3 };
    show('replica', {
      lag: seen(lagReport([events])),
      brokers: notSeen({ failure, failedLooks: 1 }),
      topics: notSeen({ failure, failedLooks: 2 }),
      replica: seen(replicas(), { ...failed, seenAtMs: nowMs - 65_000 }),
      backup: notSeen({ failure: 'the key cannot be read', failedLooks: 1 }),
    });
    const frame = await shows(/\? brokers not known: no Kafka broker answered {2}·/);
    expect(frame).toMatch(/› events +kpipe-events .*1,204/);
    press('t');
    await shows(/NOT KNOWN: no Kafka broker answered/);
    press(keys.escape);
    await shows(/› events +kpipe-events .*1,204/);
  });

  test('the header says how standbys and backups are', async () => {
    const { show, shows } = open(state(), { columns: 160 });
    const line = {
      id: '20260501T110000Z',
      kind: 'full' as const,
      parent: null,
      completedAt: new Date(nowMs - 3 * 3_600_000).toISOString(),
      ageMs: 3 * 3_600_000,
      clusterBytes: 1,
      storedBytes: 1,
      postgresVersion: '15.18',
      encrypted: true,
      signatureValid: true,
      verified: null,
      provenAt: new Date(nowMs - 86_400_000).toISOString(),
      problem: null,
    };
    show('backup', { replica: seen(replicas()), backup: seen({ lines: [line], problems: [] }) });
    await shows(/✓ replica1 .*behind {2}✗ replica2 PAUSED {2}· {2}✓ backup 3h old, proven 1d ago/);
    const problems = [{ code: 'OLD', detail: 'too old', next: 'kpipe backup create' }] as const;
    show('backup', { backup: seen({ lines: [line], problems }) });
    await shows(/✗ backup 3h old OLD/);
  });
});

describe('the terminal', () => {
  const many = Array.from({ length: 50 }, (_, at) =>
    groupLag({
      role: at === 0 ? 'events' : null,
      group: `group-${at}`,
      lagRecords: at * 1000,
      reason: at % 7 === 0 ? 'slow' : null,
    }),
  );

  test.each([
    [60, 15],
    [80, 24],
    [132, 43],
    [250, 80],
  ])('of %i by %i holds every view, line by line', async (columns, rows) => {
    const screen = open(
      state({ lag: seen(lagReport(many)), brokers: seen(brokerDown()), processes: seen(processes) }),
      {
        columns,
        rows,
      },
    );
    for (const [key, sign] of [
      ['', /› events +group-0/],
      ['t', /› events/],
      ['b', /BROKER_DOWN/],
      ['l', /FIRST UNREAD/],
      ['r', /PARTITIONS READ/],
      ['c', /LAG .*records/],
      ['?', /LAG +records between/],
    ] as const) {
      screen.press(...(key === '' ? [] : [key]));
      await screen.shows(sign);
      const lines = screen.frame();
      expect(lines).toHaveLength(rows);
      expect(lines[0]).toMatch(/^kpipe lag {2}shop/);
      expect(lines.at(-1)).toMatch(/\bq( quit)?$/);
    }
  });

  test('may change its size at any time: nothing of the old frame stays', async () => {
    const screen = open(state({ lag: seen(lagReport(many)) }), { columns: 200, rows: 60 });
    await screen.shows(/group-49/);
    for (const [columns, rows] of [
      [60, 15],
      [250, 80],
      [61, 40],
      [120, 15],
    ] as const) {
      screen.resize(columns, rows);
      const fresh = open(state({ lag: seen(lagReport(many)) }), { columns, rows });
      await fresh.shows(/q( quit)?$/);
      await vi.waitFor(() => expect(screen.frame()).toEqual(fresh.frame()));
    }
  });

  test('gets only what changed: no frame is cleared, a look costs a fraction of the screen', async () => {
    const screen = open(state({ lag: seen(lagReport(many)) }), { columns: 120, rows: 60 });
    await screen.shows(/group-49/);
    const first = screen.written();
    const looks = 5;
    for (let look = 1; look <= looks; look += 1) {
      const moved = many.map((group, at) =>
        at % 10 === 0 ? { ...group, lagRecords: (group.lagRecords ?? 0) + look } : group,
      );
      screen.show('lag', { lag: seen(lagReport(moved), { seenAtMs: nowMs + look * 2000 }) });
      await screen.shows(new RegExp(`14:02:${11 + look * 2}Z`));
    }
    const later = screen.written().slice(first.length);
    expect(first).toContain('\u001b[?1049h');
    expect(later).not.toMatch(/\u001b\[[0-3]?J|\u001b\[2?K|\u001b\[\?1049/);
    expect(later.length / looks).toBeLessThan(first.length / 2);
    expect(later).not.toMatch(/group-\d/);
  });
});

describe('the lag over time', () => {
  test('is drawn from the looks', async () => {
    const { show, shows } = openWith(groupLag({ lagRecords: 0 }));
    for (const lagRecords of [50, 100]) {
      show('lag', { lag: seen(lagReport([groupLag({ lagRecords })])) });
    }
    await shows(/▁▅█/);
  });

  test('has a gap where a look failed', async () => {
    const { show, shows } = openWith(groupLag({ lagRecords: 50 }));
    show('lag', { lag: seen(lagReport([groupLag()]), { failure: 'away', failedLooks: 1 }) });
    show('lag', { lag: seen(lagReport([groupLag({ lagRecords: 100 })])) });
    await shows(/▅ █/);
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
