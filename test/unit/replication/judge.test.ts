import { describe, expect, test } from 'vitest';

import { noHistory, remember } from '../../../src/lib/replication/history.ts';
import { judgeReplication } from '../../../src/lib/replication/judge.ts';
import type { ReplicationExpectations, ReplicationObservation } from '../../../src/lib/replication/observation.ts';
import { behindBy, declared, nowMs, observation, primary, sender, slot, standby } from './replication-fixtures.ts';

const quiet: ReplicationExpectations = { lagAlarmMs: null, backupSlot: 'kpipe_wal' };
const megabytes = 14_700_000;
const problems = (seen: ReplicationObservation, expectations = quiet) =>
  judgeReplication(seen, expectations).problems.map(({ standby: of, code }) => `${of ?? '-'} ${code}`);

const behind = { receivedLsn: behindBy(megabytes), replayedLsn: behindBy(megabytes) };
const lagging = sender({
  writeLsn: behindBy(megabytes),
  flushLsn: behindBy(megabytes),
  replayLsn: behindBy(megabytes),
});

/** Each row is a state as both ends tell it, and what must be made of it. */
const rows: readonly (readonly [string, ReplicationObservation, readonly string[]])[] = [
  ['idle, the last transaction an hour old', observation(primary(), [declared(standby())]), []],
  [
    'idle, and an answer that is as old as answers may be',
    observation(primary({ senders: [sender({ replyAgeMs: 60_000 })] }), [declared(standby())]),
    [],
  ],
  [
    'paused',
    observation(primary({ senders: [sender({ replayLsn: behindBy(megabytes), replayLagMs: 2999 })] }), [
      declared(standby({ replayPaused: true, replayedLsn: behindBy(megabytes) })),
    ]),
    ['replica1 PAUSED'],
  ],
  [
    'receiver stopped: streaming, lag frozen, no answer',
    observation(primary({ senders: [{ ...lagging, replyAgeMs: 20_001, replayLagMs: 2.9 }] }), [
      declared(standby(behind)),
    ]),
    ['replica1 NETWORK_STALL'],
  ],
  [
    'behind, and the answer is not late yet',
    observation(primary({ senders: [{ ...lagging, replyAgeMs: 19_999 }] }), [
      declared(standby({ ...behind, replayAgeMs: 100 })),
    ]),
    [],
  ],
  [
    'a standby that answers only when asked is not judged by its silence',
    observation(primary({ senders: [{ ...lagging, replyAgeMs: 500_000 }] }), [
      declared(standby({ ...behind, statusIntervalMs: 0, replayAgeMs: 100 })),
    ]),
    [],
  ],
  [
    'receiver cut: no row, the slot idle',
    observation(primary({ senders: [], slots: [slot({ active: false, activePid: null })] }), [
      declared(standby({ ...behind, receiver: null })),
    ]),
    ['replica1 RECEIVER_DOWN'],
  ],
  [
    'follows an archive only',
    observation(primary({ senders: [], slots: [] }), [
      declared(standby({ receiver: null, slotName: null, archiveOnly: true })),
    ]),
    [],
  ],
  [
    'slot lost: the receiver that is down is its consequence',
    observation(
      primary({ senders: [], slots: [slot({ active: false, activePid: null, walStatus: 'lost', restartLsn: null })] }),
      [declared(standby({ ...behind, receiver: null }))],
    ),
    ['replica1 SLOT_LOST'],
  ],
  [
    'slot at risk while all else is well',
    observation(primary({ slotKeepBytes: 4_000_000_000, slots: [slot({ safeWalBytes: 700_000_000 })] }), [
      declared(standby()),
    ]),
    ['replica1 SLOT_AT_RISK'],
  ],
  [
    'slot with room',
    observation(primary({ slotKeepBytes: 4_000_000_000, slots: [slot({ safeWalBytes: 900_000_000 })] }), [
      declared(standby()),
    ]),
    [],
  ],
  [
    'slot unreserved',
    observation(primary({ slots: [slot({ walStatus: 'unreserved', safeWalBytes: 0 })] }), [declared(standby())]),
    ['replica1 SLOT_AT_RISK'],
  ],
  [
    'another timeline, connected and never fed',
    observation(primary({ timeline: 2, senders: [sender({ state: 'startup', sentLsn: null, replayLsn: null })] }), [
      declared(standby()),
    ]),
    ['replica1 TIMELINE_MISMATCH'],
  ],
  [
    'following a new timeline: the standby says so a moment later',
    observation(primary({ timeline: 2 }), [declared(standby())]),
    [],
  ],
  [
    'promoted: two primaries',
    observation(primary({ senders: [], slots: [] }), [
      declared(standby({ inRecovery: false, timeline: 2, receiver: null })),
    ]),
    ['replica1 NOT_READ_ONLY'],
  ],
  [
    'another cluster',
    observation(primary({ senders: [], slots: [] }), [declared(standby({ systemIdentifier: '1' }))]),
    ['replica1 SYSTEM_MISMATCH'],
  ],
  [
    'declared, not there',
    observation(primary({ senders: [], slots: [] }), [declared('refused')]),
    ['replica1 MISSING'],
  ],
  ['streams, cannot be asked', observation(primary(), [declared('refused')]), ['replica1 UNREACHABLE']],
  [
    'cannot be asked, and who asks may not see senders',
    observation(primary({ senders: [], slots: [], statisticsVisible: false }), [declared('refused')]),
    ['replica1 UNREACHABLE'],
  ],
  ['streams, not declared', observation(primary(), []), ['replica1 UNDECLARED']],
  [
    'backups and subscribers stream too',
    observation(
      primary({
        senders: [
          sender({ pid: 1, applicationName: 'pg_receivewal' }),
          sender({ pid: 2, applicationName: 'pg_basebackup', state: 'backup' }),
          sender({ pid: 3, applicationName: 'archiver' }),
          sender({ pid: 4, applicationName: 'subscriber' }),
        ],
        slots: [slot({ name: 'kpipe_wal', activePid: 3 }), slot({ name: 'sub', type: 'logical', activePid: 4 })],
      }),
      [],
    ),
    [],
  ],
  [
    'replay waits for a query',
    observation(primary(), [
      declared(
        standby({
          replayedLsn: behindBy(megabytes),
          blocked: {
            waitEvent: 'RecoveryConflictSnapshot',
            holder: { pid: 7, applicationName: 'report', forMs: 61_000 },
          },
        }),
      ),
    ]),
    ['replica1 CONFLICT'],
  ],
  [
    'received and not replayed beyond the bound',
    observation(primary(), [
      declared(standby({ replayedLsn: behindBy(megabytes), replayAgeMs: 5001, beatAtMs: null })),
    ]),
    ['replica1 REPLAY_SLOW'],
  ],
  [
    'within the bound',
    observation(primary(), [
      declared(standby({ replayedLsn: behindBy(megabytes), replayAgeMs: 4999, beatAtMs: null })),
    ]),
    [],
  ],
  [
    'delayed on purpose',
    observation(primary(), [
      declared(
        standby({ replayedLsn: behindBy(megabytes), replayAgeMs: 3_600_000, beatAtMs: null, applyDelayMs: 3_600_000 }),
      ),
    ]),
    [],
  ],
  [
    'on the way beyond the bound',
    observation(primary(), [declared(standby({ ...behind, beatAtMs: nowMs - 7000 }))]),
    ['replica1 LAG'],
  ],
  [
    'behind when it was asked, and there a moment later',
    observation(primary(), [declared(standby(behind), { catchUpMs: 12 })]),
    [],
  ],
  ['the primary is away', observation('refused', [declared(standby({ receiver: null }))]), ['- PRIMARY_UNREACHABLE']],
  [
    'the primary of kpipe.yaml is a standby',
    observation(primary({ inRecovery: true }), [declared(standby())]),
    ['- PRIMARY_IN_RECOVERY'],
  ],
  [
    'a slot that is lost and nobody’s',
    observation(
      primary({ senders: [], slots: [slot({ name: 'old', active: false, activePid: null, walStatus: 'lost' })] }),
      [],
    ),
    ['- SLOT_LOST'],
  ],
  [
    'two standbys, one bad',
    observation(
      primary({
        senders: [sender(), sender({ pid: 11, applicationName: 'replica2', replayLsn: behindBy(megabytes) })],
        slots: [slot(), slot({ name: 'replica2', activePid: 11 })],
      }),
      [
        declared(standby()),
        declared(standby({ slotName: 'replica2', replayPaused: true, replayedLsn: behindBy(megabytes) }), {
          name: 'replica2',
        }),
      ],
    ),
    ['replica2 PAUSED'],
  ],
];

describe('what is made of what both ends say', () => {
  test.each(rows)('%s', (_name, seen, expected) => {
    expect(problems(seen)).toEqual(expected);
    expect(judgeReplication(seen, quiet).ok).toBe(expected.length === 0);
  });
});

test('the alarm of kpipe.yaml goes before a standby’s maxLag', () => {
  const seen = observation(primary(), [declared(standby({ ...behind, replayAgeMs: 6000, beatAtMs: null }))]);
  expect(problems(seen)).toEqual(['replica1 LAG']);
  expect(problems(seen, { ...quiet, lagAlarmMs: 30_000 })).toEqual([]);
});

test('a probe that is not replayed in time is a problem of a standby that nothing else explains', () => {
  const probe = { deadlineMs: 5000, outcomes: [{ standby: 'replica1', ms: null }] };
  expect(problems(observation(primary(), [declared(standby())], { probe }))).toEqual(['replica1 PROBE_TIMEOUT']);
  const paused = declared(standby({ replayPaused: true }));
  expect(problems(observation(primary(), [paused], { probe }))).toEqual(['replica1 PAUSED']);
});

test('queries that recovery cancelled are told once, by the look after', () => {
  const conflicts = { tablespace: 0, lock: 1, snapshot: 2, bufferpin: 0, deadlock: 0, logicalSlot: 0 };
  const first = observation(primary(), [declared(standby({ conflicts }))]);
  const history = remember(noHistory, first);
  expect(judgeReplication(first, quiet).ok).toBe(true);
  expect(judgeReplication(first, quiet, history).ok).toBe(true);
  const more = observation(primary(), [declared(standby({ conflicts: { ...conflicts, snapshot: 5 } }))]);
  const [problem] = judgeReplication(more, quiet, history).problems;
  expect(problem).toMatchObject({ code: 'CONFLICT', detail: 'recovery cancelled 3 queries since the last look' });
});

test('the worst problem comes first, each with what to do', () => {
  const seen = observation(primary({ senders: [sender({ applicationName: 'other', pid: 99 })], slots: [] }), [
    declared('refused', { name: 'replica9' }),
    declared(standby({ inRecovery: false })),
  ]);
  const report = judgeReplication(seen, quiet);
  expect(report.problems.map(({ code }) => code)).toEqual(['NOT_READ_ONLY', 'MISSING', 'UNDECLARED']);
  expect(report.problems.every(({ next }) => next.length > 20)).toBe(true);
});

test('bytes are counted from the primary’s end, and never negative', () => {
  const ahead = observation(primary(), [declared(standby({ replayedLsn: behindBy(-500) }))]);
  expect(judgeReplication(ahead, quiet).standbys[0]).toMatchObject({ replayBytes: 0, lagMs: 0, lagMethod: 'none' });
  const seen = observation(primary({ senders: [lagging] }), [declared(standby(behind))]);
  expect(judgeReplication(seen, quiet).standbys[0]).toMatchObject({
    sentBytes: 0,
    flushBytes: megabytes,
    replayBytes: megabytes,
  });
});

test('who sees no statistics says so and guesses nothing', () => {
  const hidden = sender({ applicationName: null, state: null, replayLsn: null, replyAgeMs: null });
  const seen = observation(primary({ statisticsVisible: false, senders: [hidden] }), [
    declared(standby({ statisticsVisible: false })),
  ]);
  const report = judgeReplication(seen, quiet);
  expect(report.problems).toEqual([]);
  expect(report.notes).toHaveLength(1);
  expect(report.notes[0]).toContain('the primary, replica1');
});
