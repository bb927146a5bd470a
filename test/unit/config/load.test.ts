import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { findConfigFile, loadConfig, parseConfig, type Config } from '../../../src/lib/config/load.ts';
import { KpipeError } from '../../../src/lib/errors.ts';

const wholeFile = `pipeline: bakery
kafka:
  brokers: [127.0.0.1:9092, 'localhost:9093', '[::1]:9094']
  sasl: {mechanism: scram-sha-512, username: kpipe, password: '\${env:BROKER_PASSWORD}'}
topics:
  events:
    partitions: {basis: consumers, consumers: 6}
    replicationFactor: 3
    retention: 7d
    config: {min.insync.replicas: 2, compression.type: zstd, preallocate: false}
  logs:
    partitions: {basis: throughput, target: 40MB/s, perPartition: 10MB/s}
    retention: unlimited
  analytics:
    partitions: {basis: sink, count: 6}
  plain: {partitions: 12}
  counted: {partitions: {count: 3}}
roles:
  events:
    topic: events
    group: bakery-events
    sink: postgres
    batch: {maxRows: 5000, maxBytes: 8MB, maxWait: 200ms}
    deadLetters: events.dlq
    projections:
      - match: {type: 'loaf.*'}
        table: public.loaves
        key: {loaf_id: {from: data.loafId, type: text}}
        columns:
          grams: {from: data.grams, type: bigint}
          baked_at: {from: time, type: timestamptz}
        deleteOn: [loaf.eaten]
    cache: {entities: [loaves], ttl: 5m}
  logs: {topic: logs, group: bakery-logs, sink: postgres, deadLetters: logs.dlq, retention: 30d}
  analytics: {topic: analytics, group: bakery-analytics, sink: bigquery, deadLetters: analytics.dlq}
postgres:
  primary: 'postgres://kpipe@127.0.0.1:5432/kpipe'
  replicas: [{name: replica1, url: 'postgres://kpipe@127.0.0.1:5433/kpipe', maxLag: 5s}]
  pool: {max: 4, statementTimeout: 30s}
  backups:
    repository: ./backups
    walArchive: {method: receivewal, slot: kpipe_wal}
    keep: {full: 7, window: 14d}
    encryption: {key: '\${file:./backup.key}'}
    verify: {queries: ['select count(*) > 0 from kpipe.events']}
redis:
  url: 'redis://127.0.0.1:6379/0'
  fallback: {cache: postgres, sessions: postgres, rateLimits: local}
bigquery: {project: bakery-1, dataset: analytics, table: events, write: storage}
rateLimits:
  ingest: {limit: 1000, window: 1s, by: token, whenRedisIsDown: local}
alerts:
  lag: {time: 5m, lossIn: 6h}
  disk: {usedPercent: 85, fullIn: 3d}
  replica: {lag: 30s}
  backup: {age: 26h, verifiedAge: 8d}
contexts:
  prod:
    protected: true
    kafka: {brokers: ['\${env:PROD_BROKERS}']}
    roles: {events: {batch: {maxRows: 100}}}
`;
const small = 'pipeline: bakery\nkafka: {brokers: [localhost:9092]}\n';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const parse = (text: string, context?: string, env: Record<string, string> = {}): Config =>
  parseConfig(text, join(directory, 'kpipe.yaml'), env, context);

function failure(work: () => unknown): KpipeError {
  try {
    work();
  } catch (error) {
    if (error instanceof KpipeError) {
      return error;
    }
    throw error;
  }
  throw new Error('nothing was refused');
}

const refusal = (text: string, context?: string): string =>
  failure(() => parse(text, context, { PROD_BROKERS: 'a:1' })).message.replaceAll(`${directory}/`, '');

describe('a whole file', () => {
  test('is accepted, with units resolved and defaults filled in', () => {
    const config = parse(wholeFile);
    expect(config.topics).toMatchObject({
      events: {
        partitions: { basis: 'consumers', consumers: 6 },
        retention: 604_800_000,
        config: { 'min.insync.replicas': '2', preallocate: 'false' },
      },
      logs: {
        partitions: { target: 40_000_000, perPartition: 10_000_000 },
        retention: 'unlimited',
        replicationFactor: 3,
      },
      plain: { partitions: { count: 12 } },
      counted: { partitions: { count: 3 } },
    });
    expect(config.roles.events).toMatchObject({
      batch: { maxRows: 5000, maxBytes: 8_000_000, maxWait: 200 },
      start: 'earliest',
      defaultSource: 'kpipe',
      deadLetterBreaker: { share: 0.5, of: 1000 },
      cache: { ttl: 300_000 },
      drainDeadline: 30_000,
      limits: { maxValueBytes: 8_000_000, maxHeaders: 1000, maxDepth: 5000 },
    });
    expect(config.roles.analytics?.batch).toEqual({ maxRows: 50_000, maxBytes: 8_000_000, maxWait: 5000 });
    expect(config.kafka.group).toEqual({ protocol: 'auto' });
    expect([config.context, config.protected]).toEqual([null, false]);
  });

  test('with a context: objects are laid over each other, lists replaced, references of other contexts left alone', () => {
    const config = parse(wholeFile, 'prod', { PROD_BROKERS: 'one:9092, two:9092' });
    expect(config.kafka.brokers).toEqual(['one:9092', 'two:9092']);
    expect(config.kafka.sasl?.mechanism).toBe('scram-sha-512');
    expect(config.roles.events?.batch).toEqual({ maxRows: 100, maxBytes: 8_000_000, maxWait: 200 });
    expect([config.context, config.protected]).toEqual(['prod', true]);
    expect(() => parse(wholeFile)).not.toThrow();
  });

  test('a context that is not there is refused with those that are', () => {
    expect(failure(() => parse(wholeFile, 'prood'))).toMatchObject({
      code: 'KPIPE_CONTEXT_UNKNOWN',
      exitCode: 2,
      next: 'it has: prod',
    });
    expect(failure(() => parse(small, 'constructor')).code).toBe('KPIPE_CONTEXT_UNKNOWN');
  });
});

test('given a topic’s value that no double holds, when the file is read, then it has all its digits', () => {
  const text =
    'pipeline: p\nkafka: {brokers: [b:1]}\ntopics: {t: {partitions: 1, config: {flush.messages: 9223372036854775807}}}';

  const { topics } = parseConfig(text, 'kpipe.yaml', {});

  expect(topics['t']?.config).toEqual({ 'flush.messages': '9223372036854775807' });
});

describe('a mistake is told with file, line and column', () => {
  test.each([
    [
      'an unknown key',
      wholeFile.replace('replicationFactor', 'replicationFaktor'),
      'kpipe.yaml:8:5: unknown key topics.events.replicationFaktor: did you mean replicationFactor?',
    ],
    ['an unknown section', `${small}postgre: {}\n`, 'kpipe.yaml:3:1: unknown key postgre: did you mean postgres?'],
    [
      'in a list',
      wholeFile.replace('deleteOn', 'deletOn'),
      'kpipe.yaml:32:9: unknown key roles.events.projections.0.deletOn: did you mean deleteOn?',
    ],
    ['in a union', wholeFile.replace('username', 'usrname'), 'did you mean username?'],
    ['an unknown key like none', `${small}zzzzzz: 1\n`, /unknown key zzzzzz$/],
    [
      'a wrong type',
      wholeFile.replace('maxRows: 5000', 'maxRows: many'),
      'kpipe.yaml:23:13: roles.events.batch.maxRows: must be number',
    ],
    [
      'no duration',
      wholeFile.replace('maxWait: 200ms', 'maxWait: 200'),
      /kpipe\.yaml:23:43: roles\.events\.batch\.maxWait: must be string/,
    ],
    [
      'a duration of nonsense',
      wholeFile.replace('maxWait: 200ms', 'maxWait: soon'),
      'kpipe.yaml:23:43: roles.events.batch.maxWait: not a duration',
    ],
    ['a size of nonsense', wholeFile.replace('8MB', '8XB'), 'not a size'],
    ['no port', small.replace(':9092', ''), 'kafka.brokers.0: not host:port'],
    ['an unknown type', wholeFile.replace('type: bigint', 'type: int8'), 'must be one of text, bigint, integer'],
    ['a table without schema', wholeFile.replace('public.loaves', 'loaves'), 'not a table name with its schema'],
    ['a path to nowhere', wholeFile.replace('data.grams', 'payload.grams'), 'not a path'],
    [
      'a table name that breaks out',
      wholeFile.replace('public.loaves', "'public.x\"; drop table y'"),
      'not a table name',
    ],
    ['a missing section', 'pipeline: x\n', /kafka: missing \(object\)/],
    ['nothing at all', '', /kpipe\.yaml: the file: (missing|must be) /],
    ['no YAML', 'pipeline: [a\n', /kpipe\.yaml:\d+:\d+: not YAML/],
    ['an alias that contains itself', 'pipeline: &a [*a]\n', /kpipe\.yaml: an alias \(\*\) leads back to itself/],
    ['a key twice', `${small}pipeline: y\n`, /kpipe\.yaml:3:1: not YAML: Map keys must be unique/],
  ])('%s', (_what, text, expected) => {
    expect(refusal(text)).toMatch(expected);
  });

  test('in the part that the context brings, and in the part below it', () => {
    const over = wholeFile.replace('{maxRows: 100}', '{maxRows: 0}');
    expect(refusal(over, 'prod')).toContain('kpipe.yaml:61:30: roles.events.batch.maxRows');
    expect(refusal(wholeFile.replace('maxRows: 5000', 'maxRowz: 5000'), 'prod')).toContain(
      'kpipe.yaml:23:13: unknown key roles.events.batch.maxRowz',
    );
    expect(refusal(wholeFile.replace('retention: 7d', 'retention: 7x'), 'prod')).toContain(
      'kpipe.yaml:9:5: topics.events.retention',
    );
  });

  test('at most ten of many', () => {
    const many = Array.from({ length: 14 }, (_, index) => `  t${index}: {partitions: 0}`).join('\n');
    const told = refusal(`${small}topics:\n${many}\n`).split('\n');
    expect(told).toHaveLength(11);
    expect(told[10]).toBe('… and 4 more');
  });
});

describe('combinations that cannot work are refused', () => {
  test.each([
    [
      'a role without its store',
      wholeFile.replace(/^postgres:[\s\S]*?(?=^redis:)/m, ''),
      'role events needs a postgres section',
    ],
    ['analytics without BigQuery', wholeFile.replace(/^bigquery:.*\n/m, ''), 'role analytics needs a bigquery section'],
    [
      'backups in a store that is not there yet',
      wholeFile.replace('repository: ./backups', 'repository: gs://b/p'),
      'postgres.backups.repository: not yet in gs://: a directory, or s3://bucket/prefix',
    ],
    [
      'a bucket with a name that none has',
      wholeFile.replace('repository: ./backups', 'repository: s3://No_Bucket'),
      'not s3://bucket/prefix',
    ],
    [
      'half of the keys to a bucket',
      wholeFile.replace('repository: ./backups', 'repository: s3://b-1\n    s3: {accessKeyId: a}'),
      'accessKeyId and secretAccessKey go together',
    ],
    [
      'two roles in one group',
      wholeFile.replace('bakery-logs', 'bakery-events'),
      'two roles share the group bakery-events',
    ],
    [
      'dead letters into their own topic',
      wholeFile.replace('deadLetters: logs.dlq', 'deadLetters: logs'),
      'dead letters of logs would go into it',
    ],
    [
      'a cached table that nothing writes',
      wholeFile.replace('entities: [loaves]', 'entities: [rolls]'),
      'no projection writes a table rolls',
    ],
    [
      'a column that is a key already',
      wholeFile.replace('grams: {from', 'loaf_id: {from'),
      'loaf_id is a key column already',
    ],
    ['a reserved column', wholeFile.replace('grams: {from', 'kpipe_offset: {from'), 'reserved'],
    [
      'a key whose equal values can be written in several ways',
      wholeFile.replace('loafId, type: text', 'loafId, type: numeric'),
      'roles.events.projections.0.key.loaf_id.type',
    ],
    [
      'a source that there is no more',
      small.replace('}', ', source: kafkajs}'),
      'kafka.source: the only source is cooperative',
    ],
    [
      'an instance id that brokers refuse',
      small.replace('}', ', source: cooperative, group: {instanceId: "pod 1"}}'),
      'kafka.group.instanceId: not an instance id',
    ],
    ['half a certificate', small.replace('}', ', tls: {cert: a.pem}}'), 'cert and key go together'],
    [
      'unchecked certificates off the loopback',
      `pipeline: x\nkafka: {brokers: [far:9092], tls: {insecure: true}}\n`,
      'refused for far:9092',
    ],
    [
      'an emulator with half of its endpoints',
      wholeFile.replace('write: storage', 'write: storage, endpoint: "http://localhost:1"'),
      'needs grpcEndpoint too',
    ],
  ])('%s', (_what, text, expected) => {
    expect(refusal(text)).toContain(expected);
  });
});

describe('references', () => {
  const withPrimary = (url: string): string => `${small}postgres: {primary: '${url}'}\n`;

  test('are resolved when they are needed: from the environment, a file, a command without a shell', () => {
    writeFileSync(join(directory, 'secret'), 'from-file\n');
    const config = parse(
      withPrimary('postgres://u:${env:P}-${file:./secret}-${exec:printf %s $HOME;}@h/d'),
      undefined,
      { P: 'env' },
    );
    expect(config.postgres?.primary.reveal()).toBe('postgres://u:env-from-file-$HOME;@h/d');
  });

  test('that cannot be resolved stop only what needs them, by their name and not their value', () => {
    const config = parse(withPrimary('postgres://u:${env:MISSING}@h/d'));
    const error = failure(() => config.postgres?.primary.reveal());
    expect(error).toMatchObject({ code: 'KPIPE_SECRET_UNAVAILABLE', exitCode: 2 });
    expect(error.message).toContain('${env:MISSING}');
    expect(failure(() => parse(withPrimary('${file:./nowhere}')).postgres?.primary.reveal()).message).toContain(
      'nowhere',
    );
    const leak = failure(() => parse(withPrimary('${exec:sh -c x}')).postgres?.primary.reveal());
    expect(leak.message).toContain('failed or took longer');
  });

  test('outside secrets are resolved at once', () => {
    expect(
      parse('pipeline: ${env:NAME}\nkafka: {brokers: "${env:LIST}"}\n', undefined, { NAME: 'n', LIST: 'a:1,b:2' }),
    ).toMatchObject({
      pipeline: 'n',
      kafka: { brokers: ['a:1', 'b:2'] },
    });
  });

  test('no document, log or error can show a secret', () => {
    const config = parse(withPrimary('postgres://u:${env:P}-literal@h/d'), undefined, { P: 'hunter2' });
    expect(config.postgres?.primary.reveal()).toContain('hunter2-literal');
    const shown =
      JSON.stringify(config) + inspect(config, { depth: 9, showHidden: true }) + String(config.postgres?.primary);
    expect(shown).not.toMatch(/hunter2|literal/);
  });
});

describe('a literal secret in a file that others can read', () => {
  const literals = [
    ['a URL', `${small}postgres: {primary: 'postgres://u:hunter2@h/d'}\n`, 'postgres.primary'],
    [
      'a replica',
      `${small}postgres: {primary: 'postgres://h/d', replicas: [{name: r, url: 'postgres://u:hunter2@h/d'}]}\n`,
      'postgres.replicas.0.url',
    ],
    ['Redis', `${small}redis: {url: 'redis://:hunter2@h/0'}\n`, 'redis.url'],
    [
      'a bucket',
      `${small}postgres: {primary: 'postgres://h/d', backups: {repository: 's3://b-1/p', s3: {accessKeyId: a, secretAccessKey: hunter2}}}\n`,
      'postgres.backups.s3.secretAccessKey',
    ],
    [
      'SASL',
      'pipeline: x\nkafka: {brokers: [h:1], sasl: {mechanism: plain, username: u, password: hunter2}}\n',
      'kafka.sasl.password',
    ],
    [
      'a context that is not in use',
      `${small}contexts: {prod: {postgres: {primary: 'postgres://u:hunter2@h/d'}}}\n`,
      'contexts.prod.postgres.primary',
    ],
  ] as const;

  test.each(literals)('is refused: %s', (_what, text, path) => {
    const file = join(directory, 'open.yaml');
    writeFileSync(file, text);
    chmodSync(file, 0o644);
    const error = failure(() => loadConfig({ file, cwd: directory, env: {} }));
    expect(error).toMatchObject({
      code: 'KPIPE_CONFIG_UNSAFE',
      exitCode: 2,
      next: expect.stringContaining('chmod 600') as string,
    });
    expect(error.message).toContain(`(${path})`);
    expect(error.message).not.toContain('hunter2');
    chmodSync(file, 0o600);
    expect(() => loadConfig({ file, cwd: directory, env: {} })).not.toThrow();
  });

  test('a reference is no literal', () => {
    const file = join(directory, 'referring.yaml');
    writeFileSync(file, `${small}postgres: {primary: 'postgres://u:\${env:P}@h/d'}\nredis: {url: '\${env:R}'}\n`);
    chmodSync(file, 0o644);
    expect(loadConfig({ file, cwd: directory, env: {} }).file).toBe(file);
  });
});

describe('which file is read', () => {
  test('the one named, else ./kpipe.yaml, else the XDG config directory’s, else a way out', () => {
    const home = join(directory, 'home');
    const xdg = join(home, '.config', 'kpipe');
    const work = join(directory, 'work');
    mkdirSync(xdg, { recursive: true });
    mkdirSync(work);
    const location = { cwd: work, env: { HOME: home } };
    expect(failure(() => findConfigFile(location))).toMatchObject({
      code: 'KPIPE_CONFIG_NOT_FOUND',
      exitCode: 2,
      next: expect.stringContaining('kpipe init') as string,
    });
    writeFileSync(join(xdg, 'kpipe.yaml'), small);
    expect(findConfigFile(location)).toBe(join(xdg, 'kpipe.yaml'));
    writeFileSync(join(work, 'kpipe.yaml'), small);
    expect(findConfigFile(location)).toBe(join(work, 'kpipe.yaml'));
    writeFileSync(join(work, 'other.yaml'), small);
    expect(findConfigFile({ ...location, file: 'other.yaml' })).toBe(join(work, 'other.yaml'));
    expect(failure(() => findConfigFile({ ...location, file: 'none.yaml' })).message).toContain(
      join(work, 'none.yaml'),
    );
  });
});
