import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';
import { CONFIG_MARKER, sandboxConfig } from '../../../src/lib/sandbox/config-text.ts';
import { sandboxDirectory } from '../../../src/lib/sandbox/directory.ts';
import { brokerProperties } from '../../../src/lib/sandbox/kafka.ts';
import { primarySettings, replicaSettings } from '../../../src/lib/sandbox/postgres.ts';
import { redisSettings } from '../../../src/lib/sandbox/redis.ts';
import { stopPlan } from '../../../src/lib/sandbox/stop.ts';
import { javaMajor, postgresMajor } from '../../../src/lib/sandbox/tools.ts';
import type { SandboxState } from '../../../src/lib/sandbox/types.ts';

const three: SandboxState = {
  version: 1,
  directory: '/s',
  brokers: 3,
  kafkaClusterId: 'id',
  ports: {
    brokers: [101, 102, 103],
    controllers: [104, 105, 106],
    postgresPrimary: 201,
    postgresReplica: 202,
    redis: 301,
    bigqueryRest: 401,
    bigqueryGrpc: 402,
  },
  bigquery: { available: true },
  configPath: null,
};
const one: SandboxState = {
  ...three,
  brokers: 1,
  ports: { ...three.ports, brokers: [101], controllers: [104] },
  bigquery: { available: false, reason: 'no Python 3.11\nanywhere' },
};

const lines = (text: string): readonly string[] => text.trimEnd().split('\n');

describe('brokerProperties', () => {
  it('makes three combined nodes on the loopback, replicated three times', () => {
    expect(lines(brokerProperties(three, 2, '/s/log'))).toEqual(
      expect.arrayContaining([
        'process.roles=broker,controller',
        'node.id=2',
        'controller.quorum.voters=1@127.0.0.1:104,2@127.0.0.1:105,3@127.0.0.1:106',
        'listeners=PLAINTEXT://127.0.0.1:102,CONTROLLER://127.0.0.1:105',
        'advertised.listeners=PLAINTEXT://127.0.0.1:102',
        'auto.create.topics.enable=false',
        'offsets.topic.replication.factor=3',
        'transaction.state.log.min.isr=2',
        'group.initial.rebalance.delay.ms=0',
      ]),
    );
  });

  it('replicates once with one broker', () => {
    expect(lines(brokerProperties(one, 1, '/s/log'))).toEqual(
      expect.arrayContaining(['offsets.topic.replication.factor=1', 'transaction.state.log.min.isr=1']),
    );
  });
});

describe('PostgreSQL and Redis', () => {
  it('listen on the loopback only, without a unix socket, and keep durability on', () => {
    for (const text of [primarySettings(three), replicaSettings(three, '/s/passfile')]) {
      expect(lines(text)).toEqual(
        expect.arrayContaining([
          "listen_addresses = '127.0.0.1'",
          "unix_socket_directories = ''",
          'wal_level = replica',
        ]),
      );
      expect(text).not.toMatch(/fsync|synchronous_commit|full_page_writes/);
    }
    expect(lines(redisSettings(three, '/s/data'))).toEqual(expect.arrayContaining(['bind 127.0.0.1', 'port 301']));
  });

  it('stream to the replica through its slot', () => {
    const text = replicaSettings(three, "/it's/passfile");

    expect(text).toContain("primary_slot_name = 'replica1'");
    expect(text).toContain("port=201 user=replicator application_name=replica1 passfile=/it''s/passfile'");
  });
});

describe('sandboxConfig', () => {
  it.each([
    ['three brokers', three, 3, '2'],
    ['one broker and no stand-in', one, 1, '1'],
  ])('is a kpipe.yaml that kpipe accepts, with %s', (_, state, replicationFactor, inSync) => {
    const text = sandboxConfig(state, '/s/secrets/postgres-kpipe');

    expect(text.startsWith(CONFIG_MARKER)).toBe(true);
    const config = parseConfig(text, '/s/kpipe.yaml', {});
    expect(config.topics['events']).toMatchObject({ replicationFactor, config: { 'min.insync.replicas': inSync } });
    expect(Object.keys(config.roles)).toEqual(['events', 'logs', 'analytics']);
  });

  it('names the password by its file and holds no secret', () => {
    const { postgres } = parse(sandboxConfig(three, '/s/secrets/postgres-kpipe')) as { postgres: { primary: string } };

    expect(postgres.primary).toBe('postgres://kpipe:${file:/s/secrets/postgres-kpipe}@127.0.0.1:201/kpipe');
  });
});

describe('stopPlan', () => {
  it('stops the primary before its replica, and the brokers at once', () => {
    const names = [
      'bigquery',
      'kafka-1',
      'kafka-2',
      'postgres-initdb',
      'postgres-primary',
      'postgres-replica1',
      'redis',
    ];

    const chains = stopPlan(names).map((steps) => steps.map((step) => `${step.signal} ${step.name}`));

    expect(chains).toEqual([
      ['SIGTERM postgres-initdb'],
      ['SIGTERM kafka-1'],
      ['SIGTERM kafka-2'],
      ['SIGINT postgres-primary', 'SIGINT postgres-replica1'],
      ['SIGTERM redis'],
      ['SIGTERM bigquery'],
    ]);
  });
});

describe('sandboxDirectory', () => {
  it.each([
    ['the named one', { KPIPE_SANDBOX_DIR: '/a/b', XDG_STATE_HOME: '/x' }, 1000, '/a/b'],
    ['below XDG_STATE_HOME', { XDG_STATE_HOME: '/x' }, 1000, '/x/kpipe/sandbox'],
    ['outside the home for root', {}, 0, '/var/lib/kpipe/sandbox'],
  ])('is %s', (_, environment, uid, directory) => {
    expect(sandboxDirectory(environment, uid)).toBe(directory);
  });
});

describe('versions', () => {
  it.each([
    ['openjdk version "17.0.15" 2025-04-15', 17],
    ['java version "1.8.0_392"', 8],
    ['openjdk version "21" 2023-09-19', 21],
    ['nonsense', undefined],
  ])('of Java: %s', (text, major) => {
    expect(javaMajor(text)).toBe(major);
  });

  it.each([
    ['postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)', 15],
    ['postgres (PostgreSQL) 18beta1', 18],
    ['', undefined],
  ])('of PostgreSQL: %s', (text, major) => {
    expect(postgresMajor(text)).toBe(major);
  });
});
