import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { evaluateReplicaFailOn, parseReplicaFailOn } from '../../../src/lib/replication/fail-on.ts';
import { judgeReplication } from '../../../src/lib/replication/judge.ts';
import { heartbeatLagMs, lagTime } from '../../../src/lib/replication/lag-time.ts';
import { formatLsn, parseLsn } from '../../../src/lib/replication/lsn.ts';
import { mayRead, type PrimarySight, type ReplicaSight } from '../../../src/lib/replication/read-guard.ts';
import { behindBy, declared, nowMs, observation, primary, sender, standby } from './replication-fixtures.ts';

test('an LSN comes back from its text', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, (1n << 64n) - 1n), (lsn) => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
    }),
  );
  expect(formatLsn(0x16_b374_d848n)).toBe('16/B374D848');
  expect(parseLsn('16/B374D848')).toBe(0x16_b374_d848n);
  expect(['', '1', '1/', 'g/0', '1/123456789', '0/0 '].map(parseLsn)).toEqual(Array(6).fill(undefined));
});

describe('lag in time', () => {
  const behind = standby({ replayedLsn: behindBy(1000), beatAtMs: nowMs - 20_000, replayAgeMs: 9000 });
  const evidence = { primary: primary(), standby: behind, catchUpMs: null, probeMs: null, samples: [], nowMs };
  const samples = [
    { atMs: nowMs - 8000, lsn: behindBy(2000) },
    { atMs: nowMs - 4000, lsn: behindBy(1000) },
    { atMs: nowMs - 2000, lsn: behindBy(500) },
  ];

  test.each([
    ['nothing missing', { standby: standby() }, { lagMs: 0, method: 'none' }],
    ['a probe was measured', { probeMs: 2.7, catchUpMs: 90 }, { lagMs: 2.7, method: 'probe' }],
    ['it caught up while it was watched', { catchUpMs: 90 }, { lagMs: 90, method: 'catch-up' }],
    ['its last transaction', {}, { lagMs: 9000, method: 'transaction' }],
    ['its heartbeat', { standby: { ...behind, replayAgeMs: null } }, { lagMs: 20_000, method: 'heartbeat' }],
    ['when the primary was there', { samples }, { lagMs: 4000, method: 'history' }],
    ['nothing known', { standby: { ...behind, beatAtMs: null, replayAgeMs: null } }, { lagMs: null, method: null }],
  ])('%s', (_name, more, expected) => {
    expect(lagTime({ ...evidence, ...more })).toEqual(expected);
  });

  test('a heartbeat that has arrived is no lag', () => {
    expect(heartbeatLagMs(primary(), standby())).toBe(0);
    expect(heartbeatLagMs(primary(), behind)).toBe(20_000);
    expect(heartbeatLagMs(primary({ beatAtMs: null }), behind)).toBeNull();
    expect(heartbeatLagMs(null, behind)).toBeNull();
  });
});

describe('--fail-on', () => {
  const slow = observation(primary({ senders: [sender({ replayLsn: behindBy(70_000_000) })] }), [
    declared(
      standby({ replayedLsn: behindBy(70_000_000), replayPaused: true, beatAtMs: nowMs - 72_000, replayAgeMs: null }),
    ),
    declared('refused', { name: 'replica2' }),
  ]);
  const report = judgeReplication(slow, { lagAlarmMs: null, backupSlot: null });
  const evaluate = (expression: string) => {
    const { failed, unjudged } = evaluateReplicaFailOn(parseReplicaFailOn(expression), report);
    return [failed.map(({ standby: of, actual }) => [of, actual]), unjudged.map(({ standby: of }) => of)];
  };

  test.each([
    ['lag>30s', [[['replica1', '1m12s']], ['replica2']]],
    ['lag>=2m', [[], ['replica2']]],
    ['bytes>64MB', [[['replica1', '70 MB']], ['replica2']]],
    ['conflicts>0', [[], ['replica2']]],
    ['problems>1', [[[null, '2']], []]],
    ['problems>2', [[], []]],
    ['retained=0', [[['replica1', '0 B']], ['replica2']]],
    ['SLOT_LOST', [[], []]],
  ])('%s', (expression, expected) => {
    expect(evaluate(expression)).toEqual(expected);
  });

  test('a problem by its name, in any case', () => {
    const { failed } = evaluateReplicaFailOn(parseReplicaFailOn('paused,MISSING'), report);
    expect(failed.map(({ standby: of, condition }) => [of, condition])).toEqual([
      ['replica1', 'paused'],
      ['replica2', 'MISSING'],
    ]);
  });

  test('a probe that was not replayed in time took longer than any limit', () => {
    const probe = { deadlineMs: 5000, outcomes: [{ standby: 'replica1', ms: null }] };
    const probed = judgeReplication({ ...slow, probe }, { lagAlarmMs: null, backupSlot: null });
    const { failed, unjudged } = evaluateReplicaFailOn(parseReplicaFailOn('probe>1h'), probed);
    expect(failed).toEqual([{ standby: 'replica1', condition: 'probe>1h', actual: 'not replayed in time' }]);
    expect(unjudged.map(({ standby: of }) => of)).toEqual(['replica2']);
  });

  test.each(['', 'lagged', 'lag>', 'lag>5', 'bytes>5s', 'foo>1', 'problems>x', 'SLOT', 'lag>30s,'])(
    'not a condition: %s',
    (text) => {
      expect(() => parseReplicaFailOn(text)).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }) as Error);
    },
  );
});

describe('whether a replica may answer a read', () => {
  const replica: ReplicaSight = {
    atMs: nowMs,
    inRecovery: true,
    systemIdentifier: '7',
    database: 'kpipe',
    replayedLsn: 1000n,
    replayAgeMs: 3_600_000,
  };
  const seen = (ageMs: number, lsn: bigint): PrimarySight => ({
    atMs: nowMs - ageMs,
    lsn,
    systemIdentifier: '7',
    database: 'kpipe',
  });
  const bound = { maxLagMs: 5000, after: null };

  test.each<readonly [string, Partial<ReplicaSight>, readonly PrimarySight[], bigint | null, boolean]>([
    ['caught up on an idle primary', {}, [seen(10, 1000n)], null, true],
    ['past a point that was the primary’s 4 s ago', {}, [seen(4000, 990n), seen(10, 2000n)], null, true],
    ['past only a point of 6 s ago', {}, [seen(6000, 990n), seen(10, 2000n)], null, false],
    ['its last transaction is young', { replayAgeMs: 4000 }, [seen(10, 2000n)], null, true],
    ['behind what the reader wrote', {}, [seen(10, 1000n)], 1001n, false],
    ['past what the reader wrote', {}, [seen(10, 1000n)], 1000n, true],
    ['nothing replayed yet', { replayedLsn: null }, [seen(10, 1000n)], null, false],
    ['promoted', { inRecovery: false }, [seen(10, 1000n)], null, false],
    ['another cluster', { systemIdentifier: '8' }, [seen(10, 1000n)], null, false],
    ['another database', { database: 'postgres' }, [seen(10, 1000n)], null, false],
    ['said a while ago', { atMs: nowMs - 3000, replayAgeMs: 3000 }, [seen(10, 2000n)], null, false],
  ])('%s', (_name, over, samples, after, may) => {
    expect(mayRead({ ...replica, ...over }, samples, { ...bound, after }, nowMs).may).toBe(may);
  });

  test('never one whose proven lag is beyond the bound', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20_000), fc.bigInt(0n, 2000n))), fc.nat(20_000), (points, replayAgeMs) => {
        const samples = points.map(([age, lsn]) => seen(age, lsn)).toSorted((a, b) => a.atMs - b.atMs);
        const verdict = mayRead({ ...replica, replayAgeMs }, samples, bound, nowMs);
        const youngest = samples.filter(({ lsn }) => lsn <= 1000n).at(-1);
        const proven = Math.min(replayAgeMs, youngest === undefined ? Infinity : nowMs - youngest.atMs);
        expect(verdict.may).toBe(proven <= 5000);
      }),
    );
  });
});
