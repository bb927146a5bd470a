import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { ConnectionOptions as TlsOptions } from 'node:tls';

import type { Broker as BrokerAddress, ConnectionOptions, SASLOptions } from '@platformatic/kafka';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';

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
 * The client's options from `kafka:` of kpipe.yaml. Reveals the password: call it where the client is made.
 * @throws KPIPE_CONFIG_INVALID when a file of `tls` cannot be read, KPIPE_SECRET_UNAVAILABLE
 */
export function kafkaClientOptions(config: KafkaConfig, timeouts: KafkaTimeouts = {}): KafkaClientOptions {
  const bootstrapBrokers = config.brokers.map(brokerAddress);
  return {
    clientId: config.clientId,
    bootstrapBrokers,
    connectTimeout: timeouts.connectTimeoutMs ?? config.connectTimeout,
    requestTimeout: timeouts.requestTimeoutMs ?? 30_000,
    ...(config.tls === undefined ? {} : { tls: tlsOptions(config.tls, config.directory) }),
    // Managed clusters choose the broker by SNI; TLS knows no SNI of an IP address.
    ...(config.tls !== undefined && bootstrapBrokers.some(({ host }) => isIP(host) === 0)
      ? { tlsServerName: true }
      : {}),
    ...(config.sasl === undefined ? {} : { sasl: saslOptions(config.sasl) }),
  };
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
    ? { mechanism: 'OAUTHBEARER', token: sasl.token.reveal() }
    : { mechanism: mechanisms[sasl.mechanism], username: sasl.username, password: sasl.password.reveal() };
}
