import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { makeSandboxDirectories, sandboxPaths, type SandboxPaths } from '../../src/lib/sandbox/directory.ts';
import { brokerName, brokerSpec } from '../../src/lib/sandbox/kafka.ts';
import { runToEnd, startProcess, stopRecorded } from '../../src/lib/sandbox/processes.ts';
import { findTools } from '../../src/lib/sandbox/tools.ts';
import { certificates, type Certificates } from './certificates.ts';

/**
 * Listeners of a secured cluster. `internal` is the brokers' own, in plain text, where everybody is a super user: Kafka's
 * tools and the test's preparations go there. `sasl`: TLS with every SASL mechanism. `brief`: the same, sessions of 5 s.
 * `mutual`: TLS with client certificates. `elsewhere`, `expired`: as `sasl`, with a certificate for another host, or of
 * yesterday; only on the first broker.
 */
const everywhere = ['internal', 'sasl', 'brief', 'mutual'] as const;
const odd = ['elsewhere', 'expired'] as const;
export type ListenerName = (typeof everywhere)[number] | (typeof odd)[number];

export const briefSessionMs = 5000;

/** A user by SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN alike. */
export interface SecuredUser {
  readonly name: string;
  readonly password: string;
}

export interface SecuredBrokers {
  readonly certificates: Certificates;
  readonly addresses: (listener: ListenerName) => readonly string[];
  /** Stops the broker in order and starts it again; answers when it is on its way, not when it serves. */
  readonly restart: (broker: 1 | 2) => Promise<void>;
  /** What the broker has printed. */
  readonly log: (broker: 1 | 2) => string;
  readonly stop: () => Promise<void>;
}

interface Node {
  readonly id: 1 | 2;
  readonly ports: Readonly<Record<ListenerName, number>>;
}

const mechanisms = ['SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN', 'OAUTHBEARER'] as const;
const clusterId = 'kpipe-secured-tests-AA';

/**
 * Two brokers, the first of which is the controller too, with TLS, SASL and Kafka's own authorizer: what no ACL allows is
 * refused. Answers when they are on their way, not when they serve.
 */
export async function startSecuredBrokers(users: readonly SecuredUser[]): Promise<SecuredBrokers> {
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-secured-'));
  const paths = sandboxPaths(directory);
  const tools = findTools(process.env);
  const { signal } = new AbortController();
  makeSandboxDirectories(paths);
  const made = makeCertificates(directory);
  const [controller = 0, ...ports] = await freePorts(1 + 2 * (everywhere.length + odd.length));
  const nodes: readonly Node[] = [nodeWith(1, ports.slice(0, 6)), nodeWith(2, ports.slice(6))];
  await Promise.all(
    nodes.map(async ({ id, ports: own }) => {
      const properties = join(paths.conf, `${brokerName(id)}.properties`);
      mkdirSync(join(paths.data, brokerName(id)), { recursive: true });
      writeFileSync(properties, propertiesOf({ id, ports: own }, controller, users, made, paths), { mode: 0o600 });
      const spec = brokerSpec(paths, tools, id, ['-XX:TieredStopAtLevel=1']);
      const format = ['kafka.tools.StorageTool', 'format', '--cluster-id', clusterId, '--config', properties];
      // The controller's log begins with the users; the other broker learns of them from it.
      const scram = id === 1 ? users.flatMap(scramArguments) : [];
      const args = [...spec.args.slice(0, -2), ...format, ...scram];
      await runToEnd(paths, { ...spec, name: `${spec.name}-format`, args }, signal);
    }),
  );
  const start = (id: 1 | 2): void => {
    startProcess(paths, brokerSpec(paths, tools, id));
  };
  nodes.forEach(({ id }) => start(id));
  return {
    certificates: made,
    addresses: (listener) =>
      nodes
        .filter(({ id }) => id === 1 || !isOdd(listener))
        .map(({ ports: own }) => `${hostOf(listener)}:${own[listener]}`),
    restart: async (id) => {
      await stopRecorded(paths, brokerName(id), 'SIGTERM', 30_000);
      start(id);
    },
    log: (id) => readFileSync(join(paths.logs, `${brokerName(id)}.log`), 'utf8'),
    stop: async () => {
      await Promise.all(nodes.map(({ id }) => stopRecorded(paths, brokerName(id), 'SIGKILL', 10_000)));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function isOdd(listener: ListenerName): boolean {
  return odd.some((name) => name === listener);
}

/** By name, so that TLS says whom it means, and by address. */
function hostOf(listener: ListenerName): string {
  return listener === 'sasl' ? 'localhost' : '127.0.0.1';
}

function nodeWith(id: 1 | 2, ports: readonly number[]): Node {
  const [internal = 0, sasl = 0, brief = 0, mutual = 0, elsewhere = 0, expired = 0] = ports;
  return { id, ports: { internal, sasl, brief, mutual, elsewhere, expired } };
}

function scramArguments({ name, password }: SecuredUser): readonly string[] {
  return ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
    '--add-scram',
    `${mechanism}=[name=${name},password=${password}]`,
  ]);
}

function makeCertificates(directory: string): Certificates {
  const made = certificates(directory);
  made.makeAuthority('authority');
  made.makeAuthority('stranger');
  made.makeCertificate('broker', 'authority', 'DNS:localhost,IP:127.0.0.1');
  made.makeCertificate('elsewhere', 'authority', 'DNS:kafka.example.org');
  made.makeCertificate('expired', 'authority', 'DNS:localhost,IP:127.0.0.1', { days: -1 });
  for (const name of ['broker', 'elsewhere', 'expired']) {
    const pem = [`${name}.key`, `${name}.pem`].map((file) => readFileSync(made.file(file), 'utf8')).join('');
    writeFileSync(made.file(`${name}-keystore.pem`), pem, { mode: 0o600 });
  }
  return made;
}

function propertiesOf(
  { id, ports }: Node,
  controller: number,
  users: readonly SecuredUser[],
  made: Certificates,
  paths: SandboxPaths,
): string {
  const listeners: readonly ListenerName[] = id === 1 ? [...everywhere, ...odd] : everywhere;
  const addressed = listeners.map((name) => `${name.toUpperCase()}://${hostOf(name)}:${ports[name]}`);
  const bound = listeners.map((name) => `${name.toUpperCase()}://127.0.0.1:${ports[name]}`);
  const protocols = listeners.map((name) => `${name.toUpperCase()}:${protocolOf(name)}`);
  const properties: Record<string, string | number | boolean> = {
    'process.roles': id === 1 ? 'broker,controller' : 'broker',
    'node.id': id,
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    listeners: [...bound, ...(id === 1 ? [`CONTROLLER://127.0.0.1:${controller}`] : [])].join(','),
    'advertised.listeners': addressed.join(','),
    'listener.security.protocol.map': [...protocols, 'CONTROLLER:PLAINTEXT'].join(','),
    'log.dirs': join(paths.data, brokerName(id), 'log'),
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:ANONYMOUS',
    'ssl.principal.mapping.rules': 'RULE:^CN=([^,]+).*$/$1/,DEFAULT',
    'auto.create.topics.enable': false,
    'default.replication.factor': 2,
    'offsets.topic.replication.factor': 2,
    'offsets.topic.num.partitions': 2,
    'transaction.state.log.replication.factor': 2,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 2,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    'group.consumer.min.session.timeout.ms': 6000,
    'group.consumer.session.timeout.ms': 10_000,
    'num.network.threads': 2,
    'num.io.threads': 4,
    'background.threads': 4,
    'log.cleaner.dedupe.buffer.size': 16_777_216,
    'controlled.shutdown.retry.backoff.ms': 500,
    'ssl.keystore.type': 'PEM',
    'ssl.truststore.type': 'PEM',
  };
  for (const name of listeners.filter((each) => each !== 'internal')) {
    Object.assign(properties, tlsProperties(name, made), name === 'mutual' ? {} : saslProperties(name, users));
  }
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

function protocolOf(listener: ListenerName): string {
  return listener === 'internal' ? 'PLAINTEXT' : listener === 'mutual' ? 'SSL' : 'SASL_SSL';
}

function tlsProperties(listener: ListenerName, made: Certificates): Readonly<Record<string, string>> {
  const shown = isOdd(listener) ? listener : 'broker';
  const prefix = `listener.name.${listener}`;
  return {
    [`${prefix}.ssl.keystore.type`]: 'PEM',
    [`${prefix}.ssl.keystore.location`]: made.file(`${shown}-keystore.pem`),
    [`${prefix}.ssl.truststore.type`]: 'PEM',
    [`${prefix}.ssl.truststore.location`]: made.file('authority.pem'),
    [`${prefix}.ssl.client.auth`]: listener === 'mutual' ? 'required' : 'none',
  };
}

function saslProperties(listener: ListenerName, users: readonly SecuredUser[]): Readonly<Record<string, string>> {
  const prefix = `listener.name.${listener}`;
  const security = 'org.apache.kafka.common.security';
  const plainUsers = users.map(({ name, password }) => `user_${name}="${password}"`).join(' ');
  const logins: Readonly<Record<(typeof mechanisms)[number], string>> = {
    'SCRAM-SHA-256': `${security}.scram.ScramLoginModule required;`,
    'SCRAM-SHA-512': `${security}.scram.ScramLoginModule required;`,
    PLAIN: `${security}.plain.PlainLoginModule required ${plainUsers};`,
    // Tokens without a signature: Kafka's own validator for development.
    OAUTHBEARER: `${security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
  };
  // `brief` leaves one out, for those who ask for a mechanism that a broker does not offer.
  const offered = listener === 'brief' ? mechanisms.slice(0, 2) : mechanisms;
  return {
    [`${prefix}.sasl.enabled.mechanisms`]: offered.join(','),
    ...Object.fromEntries(
      offered.flatMap((mechanism) => {
        const own = `${prefix}.${mechanism.toLowerCase()}`;
        const session = [`${own}.connections.max.reauth.ms`, String(briefSessionMs)] as const;
        return [[`${own}.sasl.jaas.config`, logins[mechanism]], ...(listener === 'brief' ? [session] : [])];
      }),
    ),
  };
}

/** All at once, so that none is given out twice. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
