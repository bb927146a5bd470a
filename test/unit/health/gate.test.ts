import { describe, expect, test } from 'vitest';

import type { BackupLine } from '../../../src/lib/backup/catalogue.ts';
import { noDiskHistory } from '../../../src/lib/health/disk-forecast.ts';
import {
  gateReport,
  judgedPart,
  nagiosFailure,
  nagiosLine,
  skippedPart,
  type FindingLevel,
  type GatePart,
} from '../../../src/lib/health/gate.ts';
import { backupLooked, brokersLooked, lagLooked, storeLooked } from '../../../src/lib/health/gate-rules.ts';
import { judgeCluster } from '../../../src/lib/health/judge-cluster.ts';
import { neverStarted, type GroupLag, type LagReport } from '../../../src/lib/offsets/lag-report.ts';
import { groupLag } from '../offsets/lag-fixtures.ts';
import { atMs, cluster, topic } from './cluster-fixtures.ts';

const alerts = { time: 60_000, lossIn: 3_600_000 };
const lag = (...roles: readonly GroupLag[]): LagReport => ({
  observedAt: '',
  clusterId: 'c',
  roles,
  notes: [],
  cost: { requests: 12, ms: 34 },
});

/** A group of one partition, as far as the gate looks at it. */
function behind(over: Partial<GroupLag>): GroupLag {
  const at = {
    topic: 'events',
    partition: 0,
    committedOffset: 5n,
    position: 5n,
    highWatermark: 9n,
    logStartOffset: 0n,
    member: null,
  };
  const group = groupLag({ lagRecords: 4, ...over });
  return { ...group, partitions: [{ ...group, ...at }] };
}

describe('lag', () => {
  test.each<[string, GroupLag, readonly (readonly [FindingLevel, RegExp])[]]>([
    ['nothing behind', behind({ lagRecords: 0 }), []],
    ['in time', behind({ timeLagMs: 60_000 }), []],
    ['too long behind', behind({ timeLagMs: 61_000 }), [['fail', /^events is 1m1s behind \(alert 1m\)$/]]],
    ['loss soon', behind({ lossInMs: 1_800_000 }), [['fail', /^events loses records in 30m \(alert 1h\)$/]]],
    ['a short retention with everything read', behind({ lagRecords: 0, lossInMs: 1_800_000 }), []],
    ['records lost', behind({ lostRecords: 7 }), [['fail', /^events lost 7 records/]]],
    ['falls behind', behind({ status: 'warn', reason: 'why' }), [['warn', /^events falls behind: why$/]]],
    ['stands', behind({ status: 'stall', reason: 'why' }), [['fail', /^events stall: why$/]]],
    ['stopped', behind({ role: null, status: 'stop', reason: 'why' }), [['fail', /^kpipe-events stop: why$/]]],
    ['went back', behind({ status: 'rewind', reason: 'why' }), [['fail', /^events rewind: why$/]]],
    ['seen too shortly to judge', behind({ status: 'unknown', reason: 'short', timeLagMs: 1000 }), []],
    [
      'its time is not known',
      behind({ status: 'unknown', reason: 'r', timeLagMs: null, unknown: { timeLagMs: 'r' } }),
      [['unknown', /^events: r$/]],
    ],
    [
      'its lag is not known',
      behind({ status: 'unknown', reason: 'r', lagRecords: null }),
      [['unknown', /^events: r$/]],
    ],
    ['never started', groupLag({ status: 'unknown', reason: neverStarted, lagRecords: null }), []],
    [
      'its topic is missing',
      groupLag({ status: 'unknown', reason: 'topic x does not exist' }),
      [['unknown', /topic x/]],
    ],
  ])('%s', (_, group, expected) => {
    const { findings } = lagLooked(lag(group), alerts);
    expect(findings.map(({ level }) => level)).toEqual(expected.map(([level]) => level));
    for (const [index, [, pattern]] of expected.entries()) {
      expect(findings[index]?.detail).toMatch(pattern);
    }
  });

  test('what could not be seen is a finding; without alerts times are not judged', () => {
    expect(lagLooked({ ...lag(), notes: ['PostgreSQL is away'] }, alerts).findings).toMatchObject([
      { level: 'unknown' },
    ]);
    expect(lagLooked(lag(behind({ timeLagMs: 9e9, lossInMs: 0 })), {}).findings).toEqual([]);
  });

  test('figures carry the alerts as Nagios ranges', () => {
    expect(lagLooked(lag(behind({ timeLagMs: 1500, lossInMs: null })), alerts).figures).toEqual([
      { name: 'events_records', value: 4, unit: '', critical: null },
      { name: 'events_time', value: 1.5, unit: 's', critical: '60' },
    ]);
  });
});

test('brokers: problems but notices are findings, and growth that was not measured is said', () => {
  const seen = cluster({ topics: [topic([{ leader: 2 }, { isr: [1] }])] });
  const report = judgeCluster(seen, { disks: noDiskHistory, before: null, alerts: {} });
  const looked = brokersLooked(report, { fullIn: 1 }, false);
  expect(looked.findings.map(({ level, detail }) => [level, detail])).toEqual([['fail', 'UNDER_MIN_ISR events-1']]);
  expect(looked.detail).toBe('3 of 3 brokers up, 2 partitions, 1 under-replicated; growth not measured (--for)');
  expect(brokersLooked(report, {}, false).detail).not.toContain('growth');
});

test('backups: the age is the newest trusted one’s', () => {
  const line = (ageMs: number, problem: string | null): BackupLine => ({
    id: 'b',
    kind: 'full',
    parent: null,
    completedAt: null,
    ageMs,
    clusterBytes: 1,
    storedBytes: 1,
    postgresVersion: '15',
    encrypted: true,
    signatureValid: problem === null,
    verified: null,
    provenAt: null,
    problem,
  });
  const problems = [
    { code: 'OLD', detail: 'd', next: 'n' },
    { code: 'UNTRUSTED', detail: 'u', next: 'n' },
  ] as const;
  expect(backupLooked([line(7_200_000, null), line(1000, 'SIGNATURE')], problems, { age: 3_600_000 })).toMatchObject({
    detail: '2 backups, the newest 2h old',
    findings: [{ level: 'fail' }, { level: 'warn' }],
    figures: [{ value: 2 }, { value: 7200, unit: 's', critical: '3600' }],
  });
  expect(backupLooked([], [], {}).detail).toBe('no backup');
});

test('stores: a warning of doctor’s is one here', () => {
  const findings = storeLooked([
    { name: 'a', level: 'ok', detail: '', next: null },
    { name: 'b', level: 'warn', detail: 'x', next: 'n' },
    { name: 'c', level: 'fail', detail: 'y', next: 'n' },
  ]);
  expect(findings).toMatchObject({ detail: '1 of 3 checks fine', findings: [{ level: 'warn' }, { level: 'fail' }] });
});

describe('the verdict, and as a Nagios plugin', () => {
  const part = (name: GatePart['part'], ...levels: readonly FindingLevel[]): GatePart =>
    judgedPart(
      name,
      { detail: '', findings: levels.map((level) => ({ level, detail: `is ${level}`, next: null })), figures: [] },
      1,
    );

  test.each<[readonly GatePart[], boolean, number, RegExp]>([
    [[part('lag'), part('redis')], true, 0, /^KPIPE OK - lag, redis ok$/],
    [[part('lag', 'warn')], false, 1, /^KPIPE WARNING - lag: is warn$/],
    [[part('lag', 'warn'), part('redis', 'fail')], false, 2, /^KPIPE CRITICAL - lag: is warn; redis: is fail$/],
    [[part('lag', 'warn', 'fail')], false, 2, /^KPIPE CRITICAL - lag: is fail; lag: is warn$/],
    [[part('lag', 'unknown'), part('redis')], false, 3, /^KPIPE UNKNOWN - lag: is unknown; redis ok$/],
    [[part('lag', 'unknown'), part('redis', 'warn')], false, 1, /^KPIPE WARNING/],
    [[part('lag'), skippedPart('backup', 'none')], true, 0, /^KPIPE OK - lag ok; not configured: backup$/],
    [[skippedPart('backup', 'none')], true, 3, /^KPIPE UNKNOWN - not configured: backup$/],
  ])('%#', (parts, ok, code, line) => {
    const report = gateReport(parts, atMs);
    expect(report.ok).toBe(ok);
    const answer = nagiosLine(report);
    expect(answer.code).toBe(code);
    expect(answer.line).toMatch(line);
  });

  test('text cannot begin performance data or another line, and labels are plain', () => {
    const looked = {
      detail: '',
      findings: [{ level: 'fail', detail: 'a | b\nc', next: null }],
      figures: [
        { name: "my 'role'_time", value: 1.5, unit: 's', critical: '60' },
        { name: 'n', value: 3, unit: '', critical: null },
      ],
    } as const;
    const { line } = nagiosLine(gateReport([judgedPart('lag', looked, 1)], atMs));
    expect(line).toBe('KPIPE CRITICAL - lag: a / b c | lag_my__role__time=1.5s;;60 lag_n=3');
    expect(nagiosFailure('no\nfile')).toEqual({ code: 3, line: 'KPIPE UNKNOWN - no file' });
  });
});
