import { describe, expect, test } from 'vitest';

import { readClock } from '../../../src/lib/clock.ts';
import { bigQueryFindings } from '../../../src/lib/health/bigquery.ts';
import { clockFinding, type CheckLevel, type Finding } from '../../../src/lib/health/check.ts';
import { kafkaFindings } from '../../../src/lib/health/kafka.ts';
import { primaryFindings, replicaFindings } from '../../../src/lib/health/postgres.ts';
import { redisFindings } from '../../../src/lib/health/redis.ts';
import type { KafkaFacts } from '../../../src/lib/kafka/probe.ts';
import type { PostgresFacts } from '../../../src/lib/postgres/probe.ts';
import type { RedisFacts } from '../../../src/lib/redis/probe.ts';
import type { TopicSpec } from '../../../src/lib/topics/spec.ts';

function finding(findings: readonly Finding[], name: string): Finding {
  const found = findings.find((each) => each.name === name);
  if (found === undefined) {
    throw new Error(`no finding ${name} among ${findings.map((each) => each.name).join(', ')}`);
  }
  // Whatever is not well says what to do.
  expect(found.next === null).toBe(found.level === 'ok');
  return found;
}

describe('clocks', () => {
  test('the server’s time is compared with the middle of the question', () => {
    expect(readClock(1050, 1000, 1100)).toEqual({ offsetMs: 0, uncertaintyMs: 50 });
    expect(readClock(5000, 1000, 1020)).toEqual({ offsetMs: 3990, uncertaintyMs: 10 });
  });

  test.each<[number, number, CheckLevel]>([
    [0, 1, 'ok'],
    [-900, 1, 'ok'],
    [1500, 1000, 'ok'],
    [1500, 1, 'warn'],
    [-1500, 1, 'warn'],
    [61_000, 10, 'fail'],
    [-61_000, 10, 'fail'],
  ])('%i ms ± %i: %s', (offsetMs, uncertaintyMs, level) => {
    expect(finding([clockFinding('clock', { offsetMs, uncertaintyMs })], 'clock').level).toBe(level);
  });
});

describe('Kafka', () => {
  const brokers = [1, 2, 3].map((id) => ({ id, host: '127.0.0.1', port: 9090 + id, rack: null }));
  const led = { partition: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] };
  const topics = ['events', 'events.dlq'].map((name) => ({ name, id: name, internal: false, partitions: [led] }));
  const facts: KafkaFacts = {
    cluster: { clusterId: 'c', controllerId: 1, brokers },
    version: '4.3',
    unreachable: [],
    topics,
    rights: new Map(),
  };
  const spec = (name: string, origin: TopicSpec['origin']): TopicSpec => ({
    name,
    origin,
    partitions: { count: 1, basis: 'count', atLeast: false },
    replicationFactor: 3,
    config: {},
    roles: ['events'],
    keyed: true,
  });
  const specs = [spec('events', 'declared'), spec('events.dlq', 'deadLetters')];
  const all = { read: true, write: true, alter: true };

  test('all well', () => {
    const findings = kafkaFindings(
      {
        ...facts,
        rights: new Map([
          ['events', all],
          ['events.dlq', all],
        ]),
      },
      specs,
    );
    expect(findings.map(({ level }) => level)).toEqual(findings.map(() => 'ok'));
  });

  test.each<[string, Partial<KafkaFacts>, CheckLevel, RegExp]>([
    ['version', { version: '2.8' }, 'fail', /Kafka 2\.8/],
    ['version', { version: null }, 'warn', /does not tell/],
    [
      'brokers',
      { unreachable: [{ broker: brokers[2] ?? { id: 3, host: 'h', port: 1, rack: null }, reason: 'refused' }] },
      'fail',
      /3 at 127\.0\.0\.1:9093 \(refused\)/,
    ],
    [
      'replicas',
      { cluster: { clusterId: 'c', controllerId: 1, brokers: brokers.slice(0, 2) } },
      'fail',
      /want 3, 2 brokers up/,
    ],
    ['topics', { topics: topics.slice(0, 1) }, 'fail', /^missing: events\.dlq$/],
    [
      'partitions',
      { topics: [{ name: 'events', id: '', internal: false, partitions: [{ ...led, leader: -1 }] }] },
      'fail',
      /without a leader: events-0/,
    ],
    [
      'partitions',
      { topics: [{ name: 'events', id: '', internal: false, partitions: [{ ...led, isr: [1, 2] }] }] },
      'warn',
      /under-replicated: events-0/,
    ],
    [
      'rights',
      {
        rights: new Map([
          ['events', { ...all, read: false }],
          ['events.dlq', { ...all, write: false }],
        ]),
      },
      'fail',
      /refused: read events, write events\.dlq/,
    ],
    ['rights', {}, 'ok', /told of none/],
  ])('%s %#', (name, over, level, detail) => {
    expect(finding(kafkaFindings({ ...facts, ...over }, specs), name)).toMatchObject({
      level,
      detail: expect.stringMatching(detail) as unknown,
    });
  });
});

describe('PostgreSQL', () => {
  const facts: PostgresFacts = {
    address: '127.0.0.1:5432/kpipe',
    loopback: true,
    user: 'kpipe',
    version: '15.18',
    versionNumber: 150_018,
    inRecovery: false,
    encrypted: false,
    clock: { offsetMs: 0, uncertaintyMs: 1 },
    mayCreate: true,
    mayWrite: true,
    replayAgeMs: null,
  };

  test.each<[string, Partial<PostgresFacts>, readonly string[], CheckLevel, RegExp]>([
    ['primary', {}, [], 'ok', /127\.0\.0\.1:5432\/kpipe as kpipe/],
    ['primary version', { version: '12.9', versionNumber: 120_009 }, [], 'fail', /12\.9/],
    ['primary role', { inRecovery: true }, [], 'fail', /standby/],
    ['primary schema', {}, ['migration pipeline'], 'fail', /missing: migration pipeline/],
    ['primary schema', {}, [], 'ok', /complete/],
    ['primary rights', { mayWrite: false }, [], 'fail', /may not write/],
    ['primary rights', { mayWrite: null, mayCreate: false }, [], 'fail', /may not make the schema/],
    ['primary rights', { mayWrite: null }, [], 'ok', /may make the schema/],
    ['primary TLS', { loopback: false }, [], 'warn', /unencrypted/],
    ['primary clock', { clock: { offsetMs: 5000, uncertaintyMs: 1 } }, [], 'warn', /\+5000 ms/],
  ])('%s %#', (name, over, pending, level, detail) => {
    const findings = primaryFindings({ ...facts, ...over }, pending);
    expect(finding(findings, name)).toMatchObject({ level, detail: expect.stringMatching(detail) as unknown });
  });

  test('who may not create is not told to migrate by himself', () => {
    const next = primaryFindings({ ...facts, mayCreate: false }, ['migration pipeline']).find(
      ({ name }) => name === 'primary schema',
    )?.next;
    expect(next).toMatch(/^grant CREATE/);
  });

  test('a replica', () => {
    expect(
      finding(replicaFindings('r1', { ...facts, inRecovery: true, replayAgeMs: 90_000 }, 5000), 'r1 role'),
    ).toMatchObject({
      level: 'ok',
      detail: 'standby, last transaction replayed 1m30s ago (maxLag 5s)',
    });
    expect(finding(replicaFindings('r1', facts, 5000), 'r1 role').level).toBe('fail');
  });
});

describe('Redis', () => {
  const facts: RedisFacts = {
    address: '127.0.0.1:6379/0',
    version: '7.0.15',
    role: 'master',
    maxMemoryBytes: 268_435_456,
    evictionPolicy: 'allkeys-lru',
    clock: { offsetMs: 0, uncertaintyMs: 1 },
  };

  test.each<[string, Partial<RedisFacts>, CheckLevel, RegExp]>([
    ['version', {}, 'ok', /7\.0\.15/],
    ['version', { version: '5.0.1' }, 'fail', /5\.0\.1/],
    ['version', { version: null }, 'warn', /may not ask/],
    ['role', { role: 'replica' }, 'fail', /replica/],
    ['memory', { evictionPolicy: 'noeviction' }, 'warn', /writes fail when it is full/],
    ['memory', { evictionPolicy: 'noeviction', maxMemoryBytes: 0 }, 'ok', /no limit/],
    ['memory', {}, 'ok', /268 MB, allkeys-lru/],
  ])('%s %#', (name, over, level, detail) => {
    expect(finding(redisFindings({ ...facts, ...over }), name)).toMatchObject({
      level,
      detail: expect.stringMatching(detail) as unknown,
    });
  });
});

describe('BigQuery', () => {
  const facts = { endpoint: 'Google', tablePath: 'p.d.t', dataset: true, table: true, grpcProblem: null };

  test('a table that the role will make is no failure; a write API that is away is', () => {
    expect(finding(bigQueryFindings({ ...facts, table: false }), 'table').detail).toContain('p.d.t is not there yet');
    expect(finding(bigQueryFindings({ ...facts, grpcProblem: 'refused' }), 'write API').level).toBe('fail');
    expect(finding(bigQueryFindings(facts), 'table')).toMatchObject({ level: 'ok', detail: 'p.d.t' });
  });
});
