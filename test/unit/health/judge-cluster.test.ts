import { describe, expect, test } from 'vitest';

import type { BrokerProblem, BrokerReport } from '../../../src/lib/health/broker-report.ts';
import type { ClusterObservation, PartitionState } from '../../../src/lib/health/cluster-observation.ts';
import { noDiskHistory, rememberDisks } from '../../../src/lib/health/disk-forecast.ts';
import { judgeCluster, type ClusterContext } from '../../../src/lib/health/judge-cluster.ts';
import { atMs, cluster, directory, quorum, topic } from './cluster-fixtures.ts';

const context: ClusterContext = { disks: noDiskHistory, before: null, alerts: {} };

function problems(report: BrokerReport): readonly (readonly [string, BrokerProblem['level']])[] {
  // Each says what it means and what to do.
  expect(report.problems.filter(({ consequence, next }) => consequence === '' || next === '')).toEqual([]);
  return report.problems.map(({ code, level }) => [code, level] as const);
}

test('a cluster that is well has no problem', () => {
  const report = judgeCluster(cluster(), context);
  expect(report.problems).toEqual([]);
  expect(report).toMatchObject({
    ok: true,
    observedAt: '2026-01-02T03:04:05.000Z',
    controller: { leader: 1, epoch: 7, reason: null },
    partitions: { topics: 1, partitions: 1, offline: 0, underReplicated: 0, isrShrinks: null },
  });
  expect(report.brokers[0]).toMatchObject({
    id: 1,
    state: 'up',
    controller: true,
    leaders: 1,
    replicas: 1,
    bytes: 100,
  });
});

describe('partitions, by Kafka’s own definitions', () => {
  test.each<[string, Partial<PartitionState>, readonly (readonly [string, string])[]]>([
    ['all in sync', {}, []],
    ['no leader', { leader: -1, isr: [2] }, [['OFFLINE', 'fail']]],
    ['fewer in sync than must be', { isr: [1] }, [['UNDER_MIN_ISR', 'fail']]],
    ['as few in sync as may be', { isr: [1, 2] }, [['AT_MIN_ISR', 'warn']]],
    ['the preferred leader waits', { leader: 2 }, [['NOT_PREFERRED', 'notice']]],
    ['the preferred leader is not in sync', { leader: 2, isr: [2, 3] }, [['AT_MIN_ISR', 'warn']]],
    ['one replica, as declared', { replicas: [1], isr: [1] }, [['UNDER_MIN_ISR', 'fail']]],
  ])('%s', (_, state, expected) => {
    expect(problems(judgeCluster(cluster({ topics: [topic([state])] }), context))).toEqual(expected);
  });

  test('more in sync than must be, and not all: under-replicated only', () => {
    const seen = cluster({ topics: [topic([{ isr: [1, 2] }], { minInsyncReplicas: 1 })] });
    expect(problems(judgeCluster(seen, context))).toEqual([['UNDER_REPLICATED', 'warn']]);
  });

  test('min.insync.replicas that is not known judges nothing', () => {
    const seen = cluster({ topics: [topic([{ isr: [1] }], { minInsyncReplicas: null })] });
    expect(problems(judgeCluster(seen, context))).toEqual([['UNDER_REPLICATED', 'warn']]);
  });

  test('a replica that left the ISR since the look before is told, one that was moved away is not', () => {
    const before = cluster({ topics: [topic([{}, {}])] });
    const seen = cluster({ topics: [topic([{ isr: [1, 3] }, { replicas: [1, 3], isr: [1, 3] }])] });
    const report = judgeCluster(seen, { ...context, before });
    expect(report.partitions.isrShrinks).toBe(1);
    expect(report.problems.find(({ code }) => code === 'ISR_SHRINK')).toMatchObject({
      detail: 'events-0',
      next: 'look at broker 2',
    });
  });

  test('names five partitions and counts the rest', () => {
    const seen = cluster({ topics: [topic(Array.from({ length: 7 }, () => ({ leader: -1 })))] });
    expect(judgeCluster(seen, context).problems[0]).toMatchObject({
      detail: 'events-0, events-1, events-2, events-3, events-4 and 2 more',
      partitions: 7,
    });
  });
});

describe('brokers and controllers', () => {
  test('a broker that holds replicas and is not registered is down; one that does not answer is silent', () => {
    const { brokers } = cluster();
    const seen = cluster({
      brokers: brokers.map((broker) =>
        broker.id === 1
          ? broker
          : { ...broker, address: broker.id === 2 ? null : broker.address, problem: 'why', logDirectories: null },
      ),
    });
    const report = judgeCluster(seen, context);
    expect(problems(report)).toEqual([
      ['BROKER_DOWN', 'fail'],
      ['BROKER_SILENT', 'fail'],
    ]);
    expect(report.brokers.map(({ state, bytes }) => [state, bytes])).toEqual([
      ['up', 100],
      ['down', null],
      ['silent', null],
    ]);
  });

  const lagging = (ids: readonly number[]): Partial<ClusterObservation> => ({
    quorum: {
      ...quorum,
      voters: [1, 2, 3].map((id) => ({
        id,
        logEndOffset: ids.includes(id) ? 40n : 100n,
        lastCaughtUpMs: ids.includes(id) ? atMs - 60_000 : atMs,
      })),
    },
  });

  test('a voter that is behind takes the spare voter: with three, one is the last', () => {
    const report = judgeCluster(cluster(lagging([3])), context);
    expect(problems(report)).toEqual([['QUORUM_BEHIND', 'fail']]);
    expect(report.problems[0]?.detail).toBe('voter 3 is 60 records behind, last caught up 1m ago');
  });

  test('no leader of the quorum', () => {
    expect(problems(judgeCluster(cluster({ quorum: { ...quorum, leaderId: -1 } }), context))[0]).toEqual([
      'NO_CONTROLLER',
      'fail',
    ]);
  });

  test('a quorum that cannot be seen is told, and is no problem', () => {
    const report = judgeCluster(cluster({ quorum: { kind: 'unknown', reason: 'no rights' } }), context);
    expect(report).toMatchObject({ ok: true, controller: { leader: null, reason: 'no rights' } });
  });

  test('leaders on one broker: an election where others are preferred, else a move', () => {
    const crowd = (replicas: readonly number[]): ClusterObservation =>
      cluster({ topics: [topic(Array.from({ length: 12 }, () => ({ leader: 1, replicas })))] });
    const skew = (seen: ClusterObservation): string | undefined =>
      judgeCluster(seen, context).problems.find(({ code }) => code === 'LEADER_SKEW')?.next;
    expect(skew(crowd([1, 2, 3]))).toBe('kpipe topics move');
    expect(skew(crowd([2, 1, 3]))).toBe('kpipe topics elect');
    expect(judgeCluster(crowd([1, 2, 3]), context)).toMatchObject({ ok: true, brokers: [{ leaderSkew: 3 }, {}, {}] });
  });
});

describe('disks', () => {
  test('an offline directory, and the alerts of kpipe.yaml', () => {
    const [broker, ...others] = cluster().brokers;
    const seen = cluster({
      brokers: [
        { ...broker!, logDirectories: [directory({ problem: 'it is offline' }), directory({ usableBytes: 100 })] },
        ...others,
      ],
    });
    const report = judgeCluster(seen, { ...context, alerts: { usedPercent: 85 } });
    expect(problems(report)).toEqual([
      ['LOG_DIR_OFFLINE', 'fail'],
      ['DISK_USED', 'warn'],
    ]);
  });

  test('full soon: by whose growth decides what to do', () => {
    const before = cluster({ observedAtMs: atMs - 10_000 });
    const grown = (usableBytes: number, bytes: number): BrokerReport => {
      const seen = cluster({
        brokers: cluster().brokers.map((broker) => ({
          ...broker,
          logDirectories: [directory({ usableBytes, replicas: [{ topic: 'events', partition: 0, bytes }] })],
        })),
        topics: [topic([{}], { retention: null })],
      });
      const disks = rememberDisks(rememberDisks(noDiskHistory, before), seen);
      return judgeCluster(seen, { ...context, disks, alerts: { fullIn: 60_000 } });
    };
    const byKafka = grown(400, 200).problems;
    expect(byKafka.map(({ code }) => code)).toEqual(['DISK_FULL_SOON', 'DISK_FULL_SOON', 'DISK_FULL_SOON']);
    expect(byKafka[0]).toMatchObject({ detail: '/data is full in 40s at 10 B/s' });
    expect(byKafka[0]?.next).toContain('kpipe topics move');
    expect(grown(400, 100).problems[0]?.next).toContain('find what else writes');
    expect(grown(500, 100).problems).toEqual([]);
  });
});
