import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { ConnectionOptions as TlsOptions } from 'node:tls';

import type { Broker as BrokerAddress, ConnectionOptions, SASLOptions } from '@platformatic/kafka';

import type { KafkaConfig } from '../config/load.ts';
import type { Secret } from '../config/secrets.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { isTokenRefusal, TokenRefused } from './access-failures.ts';

/** What a client of @platformatic/kafka needs to reach the cluster. */
export interface KafkaClientOptions extends ConnectionOptions {
  readonly clientId: string;
  readonly bootstrapBrokers: BrokerAddress[];
}

export interface KafkaTimeouts {
  /** Until TCP, TLS and SASL are done. Default: `kafka.connectTimeout`. */
  readonly connectTimeoutMs?: number;
  /** Until a request is answered; then the connection is closed. Default 30 s. */
  readonly requestTimeoutMs?: number;
}

/**
 * The client's options from `kafka:` of kpipe.yaml. They can reveal the password: make them where the client is made.
 * @throws KPIPE_CONFIG_INVALID when a file of `tls` cannot be read, KPIPE_SECRET_UNAVAILABLE
 */
export function kafkaClientOptions(config: KafkaConfig, timeouts: KafkaTimeouts = {}): KafkaClientOptions {
  return {
    clientId: config.clientId,
    bootstrapBrokers: config.brokers.map(brokerAddress),
    connectTimeout: timeouts.connectTimeoutMs ?? config.connectTimeout,
    requestTimeout: timeouts.requestTimeoutMs ?? 30_000,
    ...(config.tls === undefined ? {} : { tls: tlsOptions(config.tls, config.directory) }),
    ...(config.sasl === undefined ? {} : { sasl: saslOptions(config.sasl) }),
  };
}

/** Managed clusters choose the broker by the name that TLS gives it (SNI). TLS knows no name of an IP address. */
export function forHost(options: KafkaClientOptions, host: string): KafkaClientOptions {
  return options.tls !== undefined && isIP(host) === 0 ? { ...options, tlsServerName: true } : options;
}

/** `host:port` or `[::1]:port`, as the schema has checked it. */
export function brokerAddress(broker: string): BrokerAddress {
  const colon = broker.lastIndexOf(':');
  return { host: broker.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(broker.slice(colon + 1)) };
}

interface TlsFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/** Certificates are verified; the schema allows `insecure` on the loopback only. Paths are relative to kpipe.yaml. */
export function tlsOptions(files: TlsFiles, directory: string): TlsOptions {
  const read = (name: 'ca' | 'cert' | 'key'): { [key in typeof name]?: Buffer } => {
    const path = files[name];
    return path === undefined ? {} : { [name]: readTlsFile(name, resolve(directory, path)) };
  };
  return {
    ...read('ca'),
    ...read('cert'),
    ...read('key'),
    ...(files.insecure === true ? { rejectUnauthorized: false } : {}),
  };
}

function readTlsFile(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `kafka.tls.${name} cannot be read: ${messageOf(error)}`, {
      next: 'correct the path in kpipe.yaml (relative paths start at its directory)',
      cause: error,
    });
  }
}

const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

function saslOptions(sasl: NonNullable<KafkaConfig['sasl']>): SASLOptions {
  return sasl.mechanism === 'oauthbearer'
    ? {
        mechanism: 'OAUTHBEARER',
        token: credential(sasl.token),
        authBytesValidator: (answer, callback) => {
          callback(isTokenRefusal(answer) ? new TokenRefused(answer) : null, answer);
        },
      }
    : { mechanism: mechanisms[sasl.mechanism], username: sasl.username, password: credential(sasl.password) };
}

/** Connections are made many at once: they share an answer, which may be that of a command. */
const credentialHeldMs = 2000;

/**
 * A password or token that may change: it is resolved anew for each authentication, so that a file or command with a new
 * one is enough. Resolved now, too, so that one that cannot be had is told at the start.
 * @throws KPIPE_SECRET_UNAVAILABLE
 */
export function credential(secret: Secret): () => string {
  let held = { text: secret.reveal(), atMs: performance.now() };
  return () => {
    if (performance.now() - held.atMs > credentialHeldMs) {
      held = { text: secret.reveal(), atMs: performance.now() };
    }
    return held.text;
  };
}
