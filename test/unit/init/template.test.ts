import { assert, constantFrom, dictionary, integer, option, property, record, string } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';
import { entryOf } from '../../../src/lib/init/live-topics.ts';
import { configTemplate } from '../../../src/lib/init/template.ts';
import { topicSpecs } from '../../../src/lib/topics/spec.ts';

const brokers = ['127.0.0.1:9092', '[::1]:9093', 'kafka-1.example:9094'];
const parse = (text: string): ReturnType<typeof parseConfig> => parseConfig(text, 'kpipe.yaml', {});

describe('the text that init writes', () => {
  test('is accepted by the schema and says what it is', () => {
    const config = parse(configTemplate({ pipeline: 'shop', brokers, topics: null }));
    expect(config).toMatchObject({
      pipeline: 'shop',
      kafka: { brokers },
      bigquery: { project: 'my-project', write: 'storage' },
    });
    expect(
      topicSpecs(config).map(({ name, partitions, config: keys }) => [name, partitions.count, keys['retention.ms']]),
    ).toEqual([
      ['events', 6, '604800000'],
      ['logs', 4, '2592000000'],
      ['analytics', 6, '259200000'],
      ['events.dlq', 1, '2592000000'],
      ['logs.dlq', 1, '2592000000'],
      ['analytics.dlq', 1, '2592000000'],
    ]);
  });

  test.each(['1', 'true', 'my shop: one', '#', 'a"b', "it's", 'null', '- x'])(
    'keeps the pipeline name %j',
    (pipeline) => {
      expect(parse(configTemplate({ pipeline, brokers, topics: null })).pipeline).toBe(pipeline);
    },
  );

  test('every commented-out setting is one that the schema accepts', () => {
    const text = configTemplate({ pipeline: 'shop', brokers, topics: null })
      .replace(/^  # tls: true .*$/m, '  tls: true')
      .replace(/^  # (sasl: \{mechanism: scram.*)$/m, '  $1')
      .replace(/^  # (connectTimeout: .*)$/m, '  $1')
      .replace(/^    # (start: .*)$/m, '    $1')
      .replace(/^  # (backups:)$/m, '  $1')
      .replaceAll(/^  #   (\w+: .*)$/gm, '    $1')
      .replaceAll(/^  # (endpoint|grpcEndpoint)(: .*)$/gm, '  $1$2')
      .replace('# contexts:', 'contexts:')
      .replace('#   prod:', '  prod:')
      .replaceAll(/^#     (protected|kafka)(:.*)$/gm, '    $1$2');
    const config = parse(text);
    expect(config.kafka).toMatchObject({ tls: {}, sasl: { mechanism: 'scram-sha-512' }, connectTimeout: 5000 });
    expect(config.roles.events?.start).toBe('earliest');
    expect(config.postgres?.backups).toMatchObject({
      repository: './backups',
      walArchive: { slot: 'kpipe_wal' },
      keep: { full: 7 },
    });
    expect(config.bigquery).toMatchObject({ endpoint: 'http://127.0.0.1:9050', grpcEndpoint: '127.0.0.1:9060' });
    expect(config.contexts['prod']).toMatchObject({ protected: true });
  });
});

describe('from a cluster', () => {
  test('roles whose topics are there are active, the others are comments', () => {
    const one = { partitions: 3, replicationFactor: 1 };
    const config = parse(configTemplate({ pipeline: 'shop', brokers, topics: { logs: one, orders: one } }));
    expect(Object.keys(config.roles).filter((role) => config.roles[role as 'logs'] !== undefined)).toEqual(['logs']);
    expect(parse(configTemplate({ pipeline: 'shop', brokers, topics: { orders: one } })).roles).toEqual({});
  });

  test('whatever a topic has, its declaration says the same to Kafka', () => {
    const overrides = dictionary(
      constantFrom('cleanup.policy', 'segment.ms', 'preallocate', 'retention.ms'),
      constantFrom('compact,delete', '604800000', 'true', '-1', '123456789', '1', '-2'),
    );
    const names = string({ unit: constantFrom('a', 'Z', '0', '.', '_', '-'), minLength: 1, maxLength: 20 }).filter(
      (name) => !/^\.{1,2}$/.test(name) && name !== '__proto__',
    );
    const topics = dictionary(names, record({ partitions: integer({ min: 1, max: 100 }), overrides }), { maxKeys: 5 });
    assert(
      property(option(topics, { nil: {} }), (observed) => {
        const entries = Object.fromEntries(
          Object.entries(observed).map(([name, topic]) => [
            name,
            entryOf({ id: '', replicationFactor: 2, inherited: {}, ...topic }),
          ]),
        );
        const specs = topicSpecs(parse(configTemplate({ pipeline: 'p', brokers, topics: entries })));
        for (const [name, topic] of Object.entries(observed)) {
          const spec = specs.find((each) => each.name === name);
          expect(spec).toMatchObject({ partitions: { count: topic.partitions }, replicationFactor: 2 });
          expect(spec?.config).toEqual({ ...topic.overrides });
        }
      }),
    );
  });
});
