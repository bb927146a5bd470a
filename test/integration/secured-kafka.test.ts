import { randomUUID } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig, parseConfig, type KafkaConfig } from '../../src/lib/config/load.ts';
import type { RoleName } from '../../src/lib/config/schema.ts';
import { KpipeError } from '../../src/lib/errors.ts';
import { openKafkaAdmin, type KafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { brokerAddress } from '../../src/lib/kafka/connection.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { RangeReader } from '../../src/lib/kafka/range-reader.ts';
import { requestMetadata } from '../../src/lib/kafka/topic-requests.ts';
import { TransactionalWriter, WriteFailed } from '../../src/lib/kafka/transactional-writer.ts';
import { consumeRole } from '../../src/lib/roles/consume.ts';
import { grant, grantsOf, type Grant } from '../support/acl-commands.ts';
import { drainingQuietly } from '../support/consume-options.ts';
import { tool } from '../support/kafka-tools.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from '../support/run-kpipe.ts';
import {
  briefSessionMs,
  startSecuredBrokers,
  type ListenerName,
  type SecuredUser,
} from '../support/secured-brokers.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';

/**
 * kpipe on brokers with TLS, SASL and an authorizer that allows only what an ACL says: every command with the rights of
 * docs/kafka-security.md, what is told when one is missing, and what is told of wrong passwords and certificates.
 */

const canary = `canary-${randomUUID()}`;
const names = ['kpipe-events', 'kpipe-logs', 'kpipe-analytics', 'shop-producer', 'kpipe-viewer', 'kpipe-operator'];
const users: readonly SecuredUser[] = [...names, 'sessions', 'forgotten', 'rotated'].map((name) => ({
  name,
  password: `${canary}-${name}`,
}));

// On a machine with nothing else to do it takes a tenth of that.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const servers = inject('servers');
const directory = pipelineDirectory();
const database = await createDatabase();
const cluster = await startSecuredBrokers(users);
afterAll(() => cluster.stop());

const byHeading = grantsOf(`${root}docs/kafka-security.md`);
const roleTopics = ['events', 'logs', 'analytics'].flatMap((name) => [name, `${name}.dlq`]);
const ownTopics = ['sessions', 'forgotten', 'rotated'].flatMap((name) => [name, `${name}.dlq`]);

interface Login {
  readonly listener?: ListenerName;
  readonly sasl?: Readonly<Record<string, string>> | null;
  readonly tls?: Readonly<Record<string, string>> | null;
  readonly protocol?: 'classic' | 'consumer';
}

const authority = { ca: cluster.certificates.file('authority.pem') };

function passwordOf(name: string): string {
  return `${canary}-${name}`;
}

function scram(username: string, mechanism = 'scram-sha-512'): Readonly<Record<string, string>> {
  return { mechanism, username, password: passwordOf(username) };
}

/** A token as Kafka's validator for development takes it: without a signature. */
function bearer(principal: string): Readonly<Record<string, string>> {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  return {
    mechanism: 'oauthbearer',
    token: `${part({ alg: 'none' })}.${part({ sub: principal, iat: now, exp: now + 3600 })}.`,
  };
}

function kafkaSection({ listener = 'sasl', sasl = null, tls = authority, protocol }: Login): object {
  return {
    brokers: cluster.addresses(listener),
    ...(sasl === null ? {} : { sasl }),
    ...(tls === null ? {} : { tls }),
    ...(protocol === undefined ? {} : { group: { protocol } }),
  };
}

function kafkaConfig(login: Login): KafkaConfig {
  const text = JSON.stringify({ pipeline: 'secured', kafka: kafkaSection(login) });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env).kafka;
}

const declared = { partitions: { count: 1 }, replicationFactor: 2 };

/** kpipe.yaml of the whole pipeline, or with `more` in the place of topics and roles. */
function pipelineFile(login: Login, more: object = wholePipeline()): string {
  const text = JSON.stringify({
    pipeline: 'secured',
    kafka: kafkaSection(login),
    postgres: { primary: database.url },
    ...(servers.bigquery === null
      ? {}
      : { bigquery: { ...servers.bigquery, dataset: database.name, table: 'events' } }),
    ...more,
  });
  const file = directory.write(text, `${randomUUID()}.yaml`);
  chmodSync(file, 0o600);
  return file;
}

function wholePipeline(): object {
  return {
    topics: Object.fromEntries([...roleTopics, 'kpipe.journal'].map((name) => [name, declared])),
    roles: Object.fromEntries(
      ['events', 'logs', ...(servers.bigquery === null ? [] : ['analytics'])].map((role) => [
        role,
        { topic: role, group: `kpipe-${role}`, deadLetters: `${role}.dlq`, ...waits(role) },
      ]),
    ),
  };
}

function waits(role: string): object {
  return role === 'analytics' ? { batch: { maxWait: '200ms' } } : {};
}

/** A role events on a topic of its own. */
function ownPipeline(name: string): object {
  return {
    roles: { events: { topic: name, group: `${name}-group`, deadLetters: `${name}.dlq`, defaultSource: name } },
  };
}

const outputs: string[] = [];

async function run(args: readonly string[], file: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const options = { ...directory.options, env: { ...directory.options.env, ...env } };
  const ended = await kpipe([...args, '--config', file], options);
  outputs.push(ended.stdout, ended.stderr);
  return ended;
}

async function succeeds(args: readonly string[], file: string): Promise<string> {
  const { code, stdout, stderr } = await run(args, file);
  expect({ args, code, stderr: code === 0 ? '' : stderr + stdout }).toEqual({ args, code: 0, stderr: '' });
  return stdout;
}

const started: Running[] = [];

function background(args: readonly string[], file: string): Running {
  const command = [`${root}bin/run.js`, ...args, '--config', file];
  const running = runProgram(process.execPath, command, directory.options);
  started.push(running);
  return running;
}

/** Two at a time: as many as there are cores. */
async function inPairs<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      await work(item);
    }
  };
  await Promise.all([worker(), worker()]);
}

const internal: Login = { listener: 'internal', tls: null };
let admin: KafkaAdmin;
const client = new Client({ connectionString: database.url, application_name: 'test' });

/** Every heading's rights without one of them, each as a principal of its own, who comes with a token. */
const lessOne = [...byHeading].flatMap(([heading, grants]) =>
  grants.map((missing, index) => ({
    heading,
    missing,
    principal: `less-${heading.replaceAll(/\W+/g, '-')}-${index}`,
    grants: grants.filter((each) => each !== missing),
  })),
);

function grantsFor(user: string, topic: string): readonly Grant[] {
  return (byHeading.get('Event processor') ?? []).map((each) => ({
    ...each,
    principal: `User:${user}`,
    name: each.name.replace('kpipe-events', `${topic}-group`).replace(/^events/, topic),
  }));
}

/** Until every broker lets `sentinel` see all topics: then it knows every topic and right that was made before. */
async function seenEverywhere(): Promise<void> {
  const kafka = await KafkaConnections.prepare(kafkaConfig({ sasl: bearer('sentinel') }), 5000);
  try {
    for (const address of cluster.addresses('sasl')) {
      await vi.waitFor(
        async () => {
          const broker = await kafka.to(brokerAddress(address));
          const { topics } = await requestMetadata(kafka, broker, { names: [...roleTopics, ...ownTopics] });
          expect(topics.every(({ partitions }) => partitions.every(({ leaderId }) => leaderId > 0))).toBe(true);
        },
        { timeout: 30_000, interval: 100 },
      );
    }
  } finally {
    await kafka.close();
  }
}

function event(id: string): { key: Buffer; value: Buffer } {
  return { key: Buffer.from(id), value: Buffer.from(JSON.stringify({ id, type: 'order.created', data: { id } })) };
}

async function stored(topic: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    'select count(*)::int as count from kpipe.events where topic = $1',
    [topic],
  );
  return rows[0]?.count ?? 0;
}

interface Sending {
  readonly sent: () => number;
  readonly stop: () => Promise<number>;
}

/** Sends one record after the other, until it is told to stop; answers how many were acknowledged. */
function keepSending(login: Login, topic: string): Sending {
  const stopping = new AbortController();
  let count = 0;
  const sending = (async () => {
    const publisher = await openPublisher(kafkaConfig(login));
    while (!stopping.signal.aborted) {
      await publisher.publish(topic, [event(`${topic}-${count}`)]);
      count += 1;
    }
    await publisher.close();
  })();
  return {
    sent: () => count,
    stop: async () => {
      stopping.abort();
      await sending;
      return count;
    },
  };
}

/** Two roles that run beside the other tests: one over many sessions, one whose password is changed behind its back. */
interface Beside {
  sessions?: Running;
  forgotten?: Running;
  sending?: Sending;
  sinceMs: number;
  seen?: Promise<SessionsSeen>;
}

interface SessionsSeen {
  readonly sent: number;
  readonly rows: number;
  readonly members: readonly (string | undefined)[];
  readonly ended: Ended;
}

const beside: Beside = { sinceMs: 0 };
const brief = (user: string, protocol: 'classic' | 'consumer'): Login => ({
  listener: 'brief',
  sasl: scram(user),
  protocol,
});

beforeAll(async () => {
  await client.connect();
  admin = await openKafkaAdmin(kafkaConfig(internal), { deadlineMs: 20_000 });
  await vi.waitFor(() => admin.describeCluster().then(({ brokers }) => expect(brokers).toHaveLength(2)), {
    timeout: 90_000,
    interval: 250,
  });
  for (const name of [...roleTopics, ...ownTopics, 'kpipe.journal']) {
    await admin.createTopic({ name, partitions: 1, replicationFactor: 2, config: {} });
  }
  const kafka = await createKafkaJs(kafkaConfig(internal), 'test-grants');
  const acls = kafka.admin();
  await acls.connect();
  await grant(acls, [...byHeading.values()].flat());
  await grant(
    acls,
    lessOne.flatMap(({ principal, grants }) => grants.map((each) => ({ ...each, principal: `User:${principal}` }))),
  );
  await grant(
    acls,
    ['sessions', 'forgotten', 'rotated'].flatMap((user) => grantsFor(user, user)),
  );
  const sentinel = {
    principal: 'User:sentinel',
    operation: 'Describe',
    resource: 'topic',
    name: '*',
    prefixed: false,
  } as const;
  await grant(acls, [
    sentinel,
    ...['sessions', 'rotated'].map((name) => ({ ...sentinel, principal: `User:${name}`, operation: 'Write', name })),
  ]);
  await acls.disconnect();
  await seenEverywhere();
  await succeeds(['migrate'], pipelineFile(internal));
  beside.sessions = background(
    ['consume', 'events', '--json'],
    pipelineFile(brief('sessions', 'consumer'), ownPipeline('sessions')),
  );
  beside.forgotten = background(
    ['consume', 'events', '--json'],
    pipelineFile(brief('forgotten', 'classic'), ownPipeline('forgotten')),
  );
  beside.sending = keepSending({ listener: 'brief', sasl: scram('sessions', 'scram-sha-256') }, 'sessions');
  await vi.waitFor(
    async () => {
      for (const name of ['sessions', 'forgotten']) {
        expect((await admin.describeGroup(`${name}-group`)).members).toHaveLength(1);
      }
    },
    { timeout: 60_000, interval: 250 },
  );
  beside.sinceMs = Date.now();
  await newPassword('forgotten', `${canary}-changed`);
});

afterAll(async () => {
  await beside.sending?.stop().catch(() => undefined);
  for (const running of started) {
    running.child.kill('SIGKILL');
    await running.ended;
  }
  await admin.close();
  await client.end();
});

async function newPassword(user: string, password: string): Promise<void> {
  const added = `SCRAM-SHA-512=[password=${password}]`;
  const args = ['--alter', '--entity-type', 'users', '--entity-name', user, '--add-config', added];
  const { code, stderr } = await tool('kafka.admin.ConfigCommand', args, cluster.addresses('internal')).ended;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}

describe('with exactly the rights of docs/kafka-security.md', () => {
  const viewer = (): string => pipelineFile({ sasl: scram('kpipe-viewer', 'plain') });
  const operator = (): string => pipelineFile({ sasl: scram('kpipe-operator', 'scram-sha-256') });

  test('the producer produces, and the roles store: each mechanism, both group protocols', async () => {
    const lines = Array.from({ length: 20 }, (_, index) =>
      JSON.stringify({ id: randomUUID(), type: 'order.created', data: { index } }),
    );
    const input = join(directory.path, `${randomUUID()}.ndjson`);
    // Two without a type are dead letters.
    writeFileSync(input, [...lines, '{"id":"no-type"}', '{"id":"no-type-either"}', ''].join('\n'));
    const before = await stored('events');
    await succeeds(['produce', 'events', '--file', input], pipelineFile({ sasl: scram('shop-producer') }));
    await succeeds(['produce', 'logs', '--file', input], pipelineFile(internal));
    await succeeds(['produce', 'analytics', '--file', input], pipelineFile(internal));
    const roles = [
      ['events', scram('kpipe-events'), 'consumer'],
      ['events', scram('kpipe-events', 'scram-sha-256'), 'classic'],
      ['logs', scram('kpipe-logs', 'plain'), 'classic'],
      ...(servers.bigquery === null ? [] : [['analytics', bearer('kpipe-analytics'), 'consumer'] as const]),
    ] as const;
    for (const [role, sasl, protocol] of roles) {
      const stdout = await succeeds(['consume', role, '--until-drained', '--json'], pipelineFile({ sasl, protocol }));
      expect(JSON.parse(stdout)).toMatchObject({ role });
    }
    expect(await stored('events')).toBe(before + 20);
  });

  test('who only looks sees everything', async () => {
    const file = viewer();
    const commands = [
      'lag',
      'lag --watch --for 1s',
      'brokers',
      'topics list',
      'topics describe events',
      'topics plan',
      'groups list',
      'groups describe kpipe-events',
      'tail events @start:+2',
      'dlq list events',
      'verify events',
      'check lag brokers',
      'replay plan events --to earliest',
      'replay history',
    ];
    await inPairs(commands, async (command) => {
      await succeeds(command.split(' '), file);
    });
    // Of the rights that roles need, it has not all.
    const doctor = await run(['doctor', '--json'], file);
    const { checks } = JSON.parse(doctor.stdout) as {
      checks: { store: string; name: string; ok: boolean; detail: string }[];
    };
    const failing = checks.filter(({ store, ok }) => store === 'kafka' && !ok);
    expect(failing).toMatchObject([
      { name: 'rights', detail: expect.stringMatching(/refused: write events\.dlq/) as string },
    ]);
    const lag = JSON.parse(await succeeds(['lag', 'events', '--json'], file)) as { roles: object[] };
    expect(lag.roles).toMatchObject([{ role: 'events', lagRecords: 0 }]);
    const exporter = background(['metrics', 'serve', '--port', '0'], file);
    const [, url = ''] = await exporter.shows(/(http:\/\/127\.0\.0\.1:\d+)/);
    await vi.waitFor(
      async () => expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^kpipe_exporter_up\{part="lag"\} 1$/m),
      { timeout: 30_000, interval: 250 },
    );
    exporter.child.kill('SIGTERM');
    expect(await exporter.ended).toMatchObject({ code: 0 });
  });

  test('the operator changes everything', async () => {
    const [made, copy, group] = [uniqueTopic('made'), uniqueTopic('copy'), uniqueTopic('group')];
    const login = { sasl: scram('kpipe-operator') };
    const topics = (over: object): string =>
      pipelineFile(login, { topics: { [made]: { ...declared, ...over }, [copy]: declared } });
    await succeeds(['topics', 'apply', '--yes'], topics({ replicationFactor: 1 }));
    await vi.waitFor(
      () =>
        succeeds(
          ['topics', 'apply', '--yes'],
          topics({ replicationFactor: 1, partitions: { count: 2 }, retention: '5d' }),
        ),
      { timeout: 120_000, interval: 500 },
    );
    await succeeds(['topics', 'move', made, '--yes'], topics({ partitions: { count: 2 }, retention: '5d' }));
    await succeeds(['topics', 'elect', made, '--yes'], operator());
    await succeeds(['replay', 'copy', 'events', copy, '--to', '+5', '--yes'], operator());
    await succeeds(['dlq', 'redrive', 'events', '--max', '1', '--yes'], operator());
    await succeeds(['replay', 'apply', 'events', '--to', 'earliest', '--yes'], operator());
    await vi.waitFor(() => admin.commitOffsets(group, [{ topic: 'events', partition: 0, offset: 1n }]), {
      timeout: 20_000,
      interval: 250,
    });
    await succeeds(['groups', 'delete', group, '--yes'], operator());
    await succeeds(['latency', '--count', '2'], operator());
    await succeeds(['topics', 'apply', '--prune', made, '--prune', copy, '--yes'], pipelineFile(login, {}));
  });

  test('a client certificate is a login too: its subject has the rights', async () => {
    const { file, makeCertificate } = cluster.certificates;
    makeCertificate('kpipe-viewer', 'authority', 'DNS:client');
    const tls = { ...authority, cert: file('kpipe-viewer.pem'), key: file('kpipe-viewer.key') };
    const login = { listener: 'mutual', tls } as const;
    expect(await succeeds(['tail', 'events', '@start:+1'], pipelineFile(login))).toContain('order.created');
    const publisher = openPublisher(kafkaConfig(login));
    await expect(publisher).rejects.toMatchObject({ message: expect.stringMatching(/no right to Write/) as string });
  });
});

describe('without one of them', () => {
  type Attempt = (kafka: KafkaAdmin, login: Login, topic: string) => Promise<unknown>;
  type Attempts = Readonly<Record<string, readonly [attempt: Attempt, told: RegExp]>>;

  const consuming =
    (role: RoleName): Attempt =>
    (_kafka, login) =>
      consumeRole(loadConfig({ file: pipelineFile(login), cwd: '/', env: {} }), role, {
        ...drainingQuietly,
        signal: new AbortController().signal,
      });
  const consumer = (role: RoleName): Attempts => ({
    [`Read topic ${role}`]: [consuming(role), new RegExp(`no right to \\w+ topic ${role} `)],
    [`Write topic ${role}.dlq`]: [consuming(role), new RegExp(`no right to \\w+ topic ${role}\\.dlq `)],
    [`Read group kpipe-${role}`]: [consuming(role), new RegExp(`no right to \\w+ group kpipe-${role} `)],
  });
  const producing: Attempt = async (_kafka, login) => {
    const publisher = await openPublisher(kafkaConfig(login));
    try {
      await publisher.publish('events', [event('refused')]);
    } finally {
      await publisher.close();
    }
  };
  const reading: Attempt = async (_kafka, login) => {
    const reader = new RangeReader(kafkaConfig(login), { topic: 'events' });
    const range = { topic: 'events', partition: 0, from: 0n, to: 1n };
    try {
      await reader.read([range], new AbortController().signal).next();
    } finally {
      await reader.close();
    }
  };
  const writing =
    (id: string, group?: string): Attempt =>
    async (_kafka, login, topic) => {
      const writer = await TransactionalWriter.open(kafkaConfig(login), id);
      const offsets = [{ topic, partition: 0, position: 1n }];
      const record = { topic, partition: 0, ...event('refused') };
      try {
        await writer.write([record], group === undefined ? undefined : { group, offsets });
      } finally {
        await writer.close();
      }
    };
  const onCluster = /no right to \w+ the cluster/;
  /** By heading, then by the right that is missing: what is tried, and what is told. */
  const attempts: Readonly<Record<string, Attempts>> = {
    'Event processor': consumer('events'),
    'Log aggregator': consumer('logs'),
    'Analytics pipeline': consumer('analytics'),
    Producer: { 'Write topic events': [producing, /no right to Write/] },
    'Operator who only looks': {
      'Describe cluster kafka-cluster': [(kafka) => kafka.partitionSizes('events'), onCluster],
      'Describe group *': [(kafka) => kafka.describeGroup('kpipe-events'), /no right to Describe group kpipe-events/],
      'Read topic *': [reading, /no right to \w+ topic events/],
      'DescribeConfigs topic *': [
        (kafka) => kafka.topicConfigs(['events']),
        /no right to DescribeConfigs topic events/,
      ],
    },
    Operator: {
      'Create cluster kafka-cluster': [
        (kafka) => kafka.createTopic({ name: uniqueTopic('never'), partitions: 1, replicationFactor: 1, config: {} }),
        /no right to Create/,
      ],
      'Alter cluster kafka-cluster': [
        (kafka, _login, topic) => kafka.reassign([{ topic, partition: 0, replicas: [1, 2] }]),
        onCluster,
      ],
      'AlterConfigs cluster kafka-cluster': [
        (kafka) => kafka.alterBrokerConfig(1, { 'leader.replication.throttled.rate': '1000000' }),
        /no right to AlterConfigs the cluster/,
      ],
      'Read topic *': [reading, /no right to Read topic events/],
      'Write topic *': [producing, /no right to Write/],
      'Alter topic *': [(kafka, _login, topic) => kafka.createPartitions(topic, 2), /no right to Alter topic/],
      'AlterConfigs topic *': [
        (kafka, _login, topic) => kafka.alterConfigs({ topic, set: { 'retention.ms': '1' } }),
        /no right to AlterConfigs topic/,
      ],
      'Delete topic *': [(kafka, _login, topic) => kafka.deleteTopic(topic), /no right to Delete topic/],
      'Read group *': [writing('kpipe.copy.x', 'kpipe.copy.x'), /no right to Read/],
      'Delete group *': [(kafka, _login, topic) => kafka.deleteGroup(topic), /no right to Delete group/],
      'Write transactional-id kpipe-dlq-': [writing('kpipe-dlq-x'), /no right to Write transactional id kpipe-dlq-x/],
      'Write transactional-id kpipe.copy.': [
        writing('kpipe.copy.x'),
        /no right to Write transactional id kpipe\.copy\./,
      ],
    },
  };

  test.each([...byHeading.keys()].filter((heading) => heading !== 'Analytics pipeline' || servers.bigquery !== null))(
    '%s: what needs it fails, and names it',
    async (heading) => {
      const topic = uniqueTopic('less');
      await admin.createTopic({ name: topic, partitions: 1, replicationFactor: 1, config: {} });
      await vi.waitFor(() => admin.commitOffsets(topic, [{ topic, partition: 0, offset: 0n }]), {
        timeout: 60_000,
        interval: 250,
      });
      const cases = lessOne.filter((each) => each.heading === heading && !each.missing.name.startsWith('kpipe.pause.'));
      expect(cases.length).toBeGreaterThan(0);
      for (const { missing, principal } of cases) {
        const right = `${missing.operation} ${missing.resource} ${missing.name}`;
        const [attempt, told] = attempts[heading]?.[right] ?? [];
        if (attempt === undefined || told === undefined) {
          throw new Error(`nothing is tried without ${right} (${heading})`);
        }
        const login = { sasl: bearer(principal) };
        const kafka = await openKafkaAdmin(kafkaConfig(login), { deadlineMs: 30_000 });
        const failure = await attempt(kafka, login, topic).then(
          () => null,
          (error: unknown) => error,
        );
        await kafka.close();
        expect({ right, failure: failureOf(failure) }).toMatchObject({
          failure: {
            exitCode: 1,
            message: expect.stringMatching(told) as string,
            next: expect.stringMatching(/kafka-acls/) as string,
          },
        });
      }
      await admin.deleteTopic(topic);
    },
  );

  test('to see requests to step aside: the role says so, and runs', async () => {
    const { principal = '' } = lessOne.find(({ missing }) => missing.name === 'kpipe.pause.kpipe-events') ?? {};
    const running = background(['consume', 'events'], pipelineFile({ sasl: bearer(principal) }));
    await running.shows(/cannot ask this role to step aside: .*no right to Describe group kpipe\.pause\.kpipe-events/);
    running.child.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ code: 0 });
  });
});

/** A transaction's failure holds what there is to tell. */
function failureOf(error: unknown): Partial<Pick<KpipeError, 'exitCode' | 'message' | 'next'>> {
  const told = error instanceof WriteFailed ? error.failure : error;
  return told instanceof KpipeError
    ? { exitCode: told.exitCode, message: told.message, ...(told.next === undefined ? {} : { next: told.next }) }
    : { message: String(told) };
}

describe('who is not let in', () => {
  const { file } = cluster.certificates;
  const viewer = scram('kpipe-viewer');
  const wrong = { ...viewer, password: `${canary}-wrong` };
  const cases: readonly (readonly [what: string, login: Login, code: string, told: RegExp])[] = [
    [
      'a wrong password',
      { sasl: wrong },
      'UNAUTHENTICATED',
      /refused user kpipe-viewer \(SCRAM-SHA-512\): .*invalid credentials/,
    ],
    [
      'by PLAIN',
      { sasl: { ...wrong, mechanism: 'plain' } },
      'UNAUTHENTICATED',
      /refused user kpipe-viewer \(PLAIN\): .*Invalid username/,
    ],
    ['an unknown user', { sasl: { ...wrong, username: 'nobody' } }, 'UNAUTHENTICATED', /refused user nobody/],
    [
      'a mechanism that is not offered',
      { listener: 'brief', sasl: { ...viewer, mechanism: 'plain' } },
      'UNAUTHENTICATED',
      /does not offer SASL mechanism PLAIN/,
    ],
    ['plain text to a TLS port', { sasl: viewer, tls: null }, 'UNTRUSTED', /speaks TLS, and kafka\.tls is not set/],
    [
      'TLS to a plain port',
      { listener: 'internal' },
      'UNREACHABLE',
      /closed the connection before TLS was established/,
    ],
    ['no SASL to a port that wants it', {}, 'UNREACHABLE', /close(?:d)? the connection/],
    [
      'an authority that is not trusted',
      { sasl: viewer, tls: { ca: file('stranger.pem') } },
      'UNTRUSTED',
      /no trusted authority signed/,
    ],
    [
      'a certificate for another host',
      { listener: 'elsewhere', sasl: viewer },
      'UNTRUSTED',
      /certificate for another host/,
    ],
    ['an expired certificate', { listener: 'expired', sasl: viewer }, 'UNTRUSTED', /certificate that has expired/],
    ['no client certificate', { listener: 'mutual' }, 'UNAUTHENTICATED', /wants a client certificate/],
  ];

  test.each(cases)('%s: both drivers say it, once and at once', async (_what, login, code, told) => {
    const expected = {
      code: `KPIPE_KAFKA_${code}`,
      exitCode: 1,
      message: expect.stringMatching(told) as string,
      next: expect.stringMatching(/kafka|certificate/) as string,
    };
    const config = kafkaConfig(login);
    const refused = await openKafkaAdmin(config);
    await expect(refused.listTopics()).rejects.toMatchObject(expected);
    await refused.close();
    await expect(openPublisher(config)).rejects.toMatchObject(expected);
  });

  test('a transaction, too', async () => {
    const expected = { code: 'KPIPE_KAFKA_UNAUTHENTICATED' };
    await expect(TransactionalWriter.open(kafkaConfig({ sasl: wrong }), 'kpipe-dlq-x')).rejects.toMatchObject(expected);
  });

  test('no secret is in any output, document or trace', async () => {
    const debug = { DEBUG: '*', NODE_DEBUG: '' };
    const config = pipelineFile({ sasl: wrong });
    const commands = [
      'lag --json',
      'produce events --generate app --count 1 --json',
      'consume events --until-drained --json',
      'context show --json',
    ];
    await inPairs(commands, async (command) => {
      await run(command.split(' '), config, debug);
    });
    await run(['brokers', '--json'], pipelineFile({ sasl: viewer }), debug);
    expect(outputs.join('')).toMatch(/KPIPE_KAFKA_UNAUTHENTICATED/);
    expect(outputs.filter((text) => text.includes(canary))).toEqual([]);
  });
});

/** What came of five sessions and more; the role and its producer have ended then. */
async function seenOfSessions(): Promise<SessionsSeen> {
  const { sessions, sending } = beside;
  if (sessions === undefined || sending === undefined) {
    throw new Error('they were not started');
  }
  const member = async (): Promise<string | undefined> =>
    (await admin.describeGroup('sessions-group')).members[0]?.memberId;
  const first = await member();
  await vi.waitUntil(() => Date.now() - beside.sinceMs > 5 * briefSessionMs, { timeout: 60_000, interval: 250 });
  const from = sending.sent();
  await vi.waitUntil(() => sending.sent() > from, { timeout: 30_000, interval: 50 });
  const sent = await sending.stop();
  await vi.waitUntil(async () => (await stored('sessions')) >= sent, { timeout: 60_000, interval: 200 });
  const members = [first, await member()];
  sessions.child.kill('SIGTERM');
  return { sent, members, rows: await stored('sessions'), ended: await sessions.ended };
}

describe('sessions of 5 s', () => {
  test('a role and a producer run through many of them: nothing is lost, nothing comes twice, nobody joins again', async () => {
    beside.seen ??= seenOfSessions();
    const { sent, rows, members, ended } = await beside.seen;
    expect(new Set(members).size).toBe(1);
    expect(ended).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/waiting|trying until/) as string });
    expect(JSON.parse(ended.stdout)).toMatchObject({ totals: { records: sent, stored: sent, duplicates: 0 } });
    expect(rows).toBe(sent);
  });

  test('connections are replaced, not piled up', async () => {
    const kafka = await KafkaConnections.prepare(kafkaConfig({ listener: 'brief', sasl: scram('sessions') }), 5000);
    const [address = ''] = cluster.addresses('brief');
    const used = new Set<object>();
    const sinceMs = Date.now();
    while (used.size < 3 && Date.now() - sinceMs < 10 * briefSessionMs) {
      const broker = await kafka.to(brokerAddress(address));
      used.add(broker.connection);
      await requestMetadata(kafka, broker, { names: ['sessions'] });
      // What was handed out earlier may be used on: it goes by the new one.
      await new Promise((resolve) => setTimeout(resolve, 20));
      await requestMetadata(kafka, broker, { names: ['sessions'] });
    }
    expect(used.size).toBe(3);
    await vi.waitFor(() =>
      expect([...used].filter((each) => Reflect.get(each, 'status') === 'connected')).toHaveLength(1),
    );
    await kafka.close();
  });

  test('a role whose password is changed behind its back ends, and says why', async () => {
    const ended = await beside.forgotten?.ended;
    expect(ended?.code).toBe(1);
    expect(ended?.stderr).toMatch(/refused user forgotten .*; trying until it is back/);
    expect(ended?.stderr).toMatch(/KPIPE_KAFKA_UNAUTHENTICATED .*refused user forgotten/);
  });
});

describe('a new password', () => {
  test('in its file is enough, while the brokers restart one after the other', async () => {
    const secret = join(directory.path, 'rotated');
    const put = (password: string): void => writeFileSync(secret, password, { mode: 0o600 });
    put(passwordOf('rotated'));
    await newPassword('rotated', passwordOf('rotated'));
    const sasl = { ...scram('rotated'), password: `\${file:${secret}}` };
    const running = background(['consume', 'events', '--json'], pipelineFile({ sasl }, ownPipeline('rotated')));
    const publisher = await openPublisher(kafkaConfig({ sasl }));
    const before = await stored('rotated');
    let sent = 0;
    const goesOn = async (): Promise<void> => {
      await publisher.publish('rotated', [event(randomUUID()), event(randomUUID())]);
      sent += 2;
      await vi.waitUntil(async () => (await stored('rotated')) >= before + sent, { timeout: 90_000, interval: 200 });
    };
    await goesOn();
    await newPassword('rotated', `${canary}-new`);
    put(`${canary}-new`);
    for (const broker of [2, 1] as const) {
      await cluster.restart(broker);
      await goesOn();
    }
    await publisher.close();
    running.child.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(await stored('rotated')).toBe(before + sent);
  });
});
