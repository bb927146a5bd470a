import { describe, expect, test } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';
import { topicSpecs } from '../../../src/lib/topics/spec.ts';

function specsOf(yaml: string): ReturnType<typeof topicSpecs> {
  const stores = `
postgres: {primary: 'postgres://kpipe@127.0.0.1:5432/kpipe'}
bigquery: {project: p, dataset: d}
`;
  return topicSpecs(
    parseConfig(`pipeline: test\nkafka: {brokers: [127.0.0.1:9092]}\n${yaml}${stores}`, 'kpipe.yaml', {}),
  );
}

describe('partitions from the declared basis', () => {
  test.each([
    ['12', 12, 'count'],
    ['{count: 7}', 7, 'count'],
    ['{basis: consumers, consumers: 6}', 6, '6 consumers'],
    ['{basis: throughput, target: 40MB/s, perPartition: 10MB/s}', 4, '40 MB/s at 10 MB/s a partition'],
    ['{basis: throughput, target: 41MB/s, perPartition: 10MB/s}', 5, '41 MB/s at 10 MB/s a partition'],
    ['{basis: throughput, target: 1kB/s, perPartition: 10MB/s}', 1, '1 kB/s at 10 MB/s a partition'],
    ['{basis: sink, count: 6}', 6, 'what suits the sink'],
  ])('%s → %i', (partitions, count, basis) => {
    const [spec] = specsOf(`topics: {events: {partitions: ${partitions}}}`);
    expect(spec?.partitions).toEqual({ count, basis, atLeast: false });
  });
});

describe('configuration', () => {
  test.each([
    ['retention: 7d', { 'retention.ms': '604800000' }],
    ['retention: unlimited', { 'retention.ms': '-1' }],
    ['config: {retention.ms: 5}', { 'retention.ms': '5' }],
    [
      'retention: 1h, config: {preallocate: true, max.message.bytes: 1000012}',
      { 'retention.ms': '3600000', preallocate: 'true', 'max.message.bytes': '1000012' },
    ],
  ])('%s', (keys, config) => {
    const [spec] = specsOf(`topics: {events: {partitions: 1, ${keys}}}`);
    expect(spec?.config).toEqual(config);
  });

  test('retention said twice is refused', () => {
    expect(() => specsOf('topics: {events: {partitions: 1, retention: 7d, config: {retention.ms: 5}}}')).toThrowError(
      expect.objectContaining({
        code: 'KPIPE_CONFIG_INVALID',
        message: expect.stringContaining('topics.events') as unknown,
      }),
    );
  });

  test('more in-sync replicas than replicas are refused', () => {
    expect(() =>
      specsOf('topics: {events: {partitions: 1, replicationFactor: 1, config: {min.insync.replicas: 2}}}'),
    ).toThrowError(
      expect.objectContaining({
        code: 'KPIPE_CONFIG_INVALID',
        message: expect.stringContaining('min.insync.replicas 2') as unknown,
      }),
    );
  });
});

describe('dead-letter topics', () => {
  const roles = `
roles:
  events: {topic: events, group: g1, deadLetters: events.dlq}
  analytics: {topic: analytics, group: g2, deadLetters: analytics.dlq}
`;

  test('follow from the roles, replicated and acked as the source', () => {
    const specs = specsOf(
      `topics: {events: {partitions: 6, replicationFactor: 2, config: {min.insync.replicas: 2}}}${roles}`,
    );
    expect(specs.map(({ name, origin }) => [name, origin])).toEqual([
      ['events', 'declared'],
      ['events.dlq', 'deadLetters'],
      ['analytics.dlq', 'deadLetters'],
    ]);
    expect(specs[1]).toMatchObject({
      partitions: { count: 1, atLeast: true },
      replicationFactor: 2,
      config: { 'retention.ms': String(30 * 86_400_000), 'min.insync.replicas': '2' },
      roles: ['events'],
    });
    // Its source is not declared: the usual factor.
    expect(specs[2]).toMatchObject({ replicationFactor: 3, config: { 'retention.ms': '2592000000' } });
  });

  test('a declared one is as declared', () => {
    const specs = specsOf(`topics: {events: {partitions: 6}, events.dlq: {partitions: 3, retention: 1d}}${roles}`);
    expect(specs.filter(({ name }) => name === 'events.dlq')).toEqual([
      expect.objectContaining({
        origin: 'declared',
        partitions: { count: 3, basis: 'count', atLeast: false },
        config: { 'retention.ms': '86400000' },
      }),
    ]);
  });

  test('two roles with one dead-letter topic make one, as the better replicated source', () => {
    const specs =
      specsOf(`topics: {events: {partitions: 6, replicationFactor: 1}, analytics: {partitions: 6, replicationFactor: 3}}
roles:
  events: {topic: events, group: g1, deadLetters: all.dlq}
  analytics: {topic: analytics, group: g2, deadLetters: all.dlq}
`);
    expect(specs.filter(({ name }) => name === 'all.dlq')).toEqual([
      expect.objectContaining({ replicationFactor: 3, roles: ['events', 'analytics'] }),
    ]);
  });

  test('events and analytics are keyed, logs and dead letters are not', () => {
    const specs =
      specsOf(`topics: {events: {partitions: 1}, logs: {partitions: 1}, analytics: {partitions: 1}, other: {partitions: 1}}
roles:
  events: {topic: events, group: g1, deadLetters: d1}
  logs: {topic: logs, group: g2, deadLetters: d2}
  analytics: {topic: analytics, group: g3, deadLetters: d3}
`);
    expect(specs.filter(({ keyed }) => keyed).map(({ name }) => name)).toEqual(['events', 'analytics']);
  });
});
