import { afterEach, expect, test, vi } from 'vitest';

import { ReplicaScreenFeed } from '../../src/cli/replica-screen-feed.ts';
import { KpipeError } from '../../src/lib/errors.ts';
import { Pace } from '../../src/lib/offsets/follow.ts';
import { judgeReplication } from '../../src/lib/replication/judge.ts';
import type { ReplicaReport } from '../../src/lib/replication/report.ts';
import { ReplicaScreen } from '../../src/ui/replica-screen.tsx';
import { behindBy, declared, observation, primary, sender, standby } from '../unit/replication/replication-fixtures.ts';
import { keys, openTerminal, type FakeTerminal } from './fake-terminal.ts';

// Frames take their time where many tests run at once.
vi.setConfig({ testTimeout: 60_000 });

const opened: FakeTerminal[] = [];

/** replica1 is well, replica2 is paused; its name tries to reach the terminal. */
function report(): ReplicaReport {
  const seen = observation(
    primary({
      senders: [sender(), sender({ pid: 11, applicationName: 'replica2', replayLsn: behindBy(14_700_000) })],
      slots: [],
    }),
    [
      declared(standby()),
      declared(standby({ replayPaused: true, replayedLsn: behindBy(14_700_000) }), { name: 'replica2' }),
    ],
  );
  return judgeReplication(seen, { lagAlarmMs: null, backupSlot: null });
}

function open() {
  const pace = new Pace(2000);
  const feed = new ReplicaScreenFeed({ title: 'prod\u001b[2J', pace });
  const screen = openTerminal(<ReplicaScreen feed={feed} />);
  opened.push(screen);
  return { pace, feed, screen, shows: screen.shows };
}

afterEach(() => {
  opened.splice(0).forEach((terminal) => terminal.close());
});

test('shows each standby, and below the cause with what to do', async () => {
  const { feed, shows } = open();
  await shows(/looking…/);
  feed.show({ kind: 'report', report: report() });
  const frame = await shows(/replica2/);
  expect(frame).toMatch(/STANDBY.*BEHIND.*STATUS/);
  expect(frame).toMatch(/› replica1.* OK/);
  expect(frame).toMatch(/replica2.*14\.7 MB.*PAUSED/);
  expect(frame).toContain('! replica2: PAUSED replay is paused');
  expect(frame).toContain('→ select pg_wal_replay_resume()');
  expect(frame).toContain('primary 10.0.0.1:5432');
  expect(frame).not.toContain('\u001b[2J');
});

test('a row opens to everything that is known of the standby', async () => {
  const { feed, screen, shows } = open();
  feed.show({ kind: 'report', report: report() });
  await shows(/replica2/);
  screen.press(keys.down);
  await shows(/› replica2/);
  screen.press(keys.enter);
  const details = await shows(/timeline\s+1\n/);
  expect(details).toContain('! replica2: PAUSED');
  expect(details).not.toContain('! replica1');
  expect(details).toMatch(/systemIdentifier\s+7711254786906541345\n/);
  expect(details).not.toContain('BEHIND');
  // More than there are lines: the rest is below.
  screen.press(keys.down);
  await vi.waitFor(() => expect(screen.frame().join('\n')).not.toContain('! replica2'), { timeout: 20_000 });
  for (let step = 0; step < 30; step += 1) {
    screen.press(keys.down);
  }
  expect(await shows(/problems\s+PAUSED/)).toMatch(/replayPaused\s+true/);
  screen.press(keys.escape);
  await shows(/BEHIND/);
});

test('a look that failed leaves the last one, marked as stale; the next one mends it', async () => {
  const { feed, shows } = open();
  feed.show({ kind: 'report', report: report() });
  await shows(/replica1/);
  feed.show({ kind: 'failed', error: new KpipeError('KPIPE_POSTGRES_UNREACHABLE', 'no server answers') });
  expect(await shows(/STALE: no server answers/)).toContain('replica1');
  feed.show({ kind: 'report', report: report() });
  await vi.waitFor(async () => expect(await shows(/replica1/)).not.toContain('STALE'), { timeout: 20_000 });
});

test('keys change the pace and ask for help', async () => {
  const { feed, pace, screen, shows } = open();
  feed.show({ kind: 'report', report: report() });
  await shows(/every 2s/);
  screen.press('+');
  await shows(/every 5s/);
  expect(pace.intervalMs).toBe(5000);
  screen.press('p');
  await shows(/PAUSED/);
  expect(pace.paused).toBe(true);
  screen.press('?');
  await shows(/ANSWERED {2}when the standby/);
  screen.press('?');
  await shows(/STANDBY/);
});
