import { createRequire } from 'node:module';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import type { ISocketFactory, Kafka, KafkaConfig as KafkajsConfig, logLevel as LogLevel, SASLOptions } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import { isTlsRecord, TlsWanted } from './access-failures.ts';
import { credential, tlsOptions } from './connection.ts';

/**
 * kafkajs, set up from kpipe.yaml: brokers, TLS, SASL, deadlines, and silence (kpipe alone prints). kafkajs' own retries
 * are few and short: its users here retry themselves, with a cap and full jitter.
 *
 * `sockets`, where given, holds the open connections: kafkajs' `disconnect()` waits for requests that are never answered,
 * and destroying their sockets ends them; a `Connections` also ends those that kafkajs opens meanwhile.
 * @throws KpipeError KPIPE_CONFIG_INVALID: a file under `kafka.tls` cannot be read; KPIPE_SECRET_UNAVAILABLE
 */
export async function createKafkaJs(
  config: KafkaConfig,
  clientId: string,
  sockets = new Set<Socket>(),
): Promise<Kafka> {
  const { default: kafkajs } = await import('kafkajs');
  stopIdleTimers();
  authenticateInTime();
  return new kafkajs.Kafka(kafkajsConfig(config, clientId, sockets, kafkajs.logLevel.NOTHING));
}

function kafkajsConfig(config: KafkaConfig, clientId: string, sockets: Set<Socket>, logLevel: LogLevel): KafkajsConfig {
  const sasl = saslOptions(config);
  const ssl = config.tls === undefined ? undefined : tlsOptions(config.tls, config.directory);
  return {
    brokers: [...config.brokers],
    clientId,
    connectionTimeout: config.connectTimeout,
    authenticationTimeout: 10_000,
    requestTimeout: 30_000,
    // Complete on purpose: under NODE_ENV=test kafkajs would fill gaps with other defaults.
    retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1000, factor: 0.5, multiplier: 2 },
    logLevel,
    logCreator: () => () => undefined,
    socketFactory: socketFactory(sockets, config.connectTimeout / 2),
    ...(ssl === undefined ? {} : { ssl }),
    ...(sasl === undefined ? {} : { sasl }),
  };
}

/** The open connections of a client; after `cut()` there are none, and none can be opened. */
export class Connections extends Set<Socket> {
  #cut = false;

  override add(socket: Socket): this {
    if (this.#cut) {
      socket.destroy();
    }
    return super.add(socket);
  }

  /** What waits for an answer fails. */
  cut(): void {
    this.#cut = true;
    for (const socket of this) {
      socket.destroy();
    }
  }
}

/**
 * As kafkajs' own, but without Nagle's delay, and with the sockets within reach. A broker that is frozen takes connections
 * and says nothing: a connection without its first byte is ended, so that kafkajs asks the next broker.
 */
function socketFactory(sockets: Set<Socket>, firstByteMs: number): ISocketFactory {
  // kafkajs passes no `ssl` without TLS, whatever its type says.
  return ({ host, port, ssl, onConnect }: Omit<Parameters<ISocketFactory>[0], 'ssl'> & { ssl?: object | null }) => {
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const socket =
      ssl === undefined || ssl === null
        ? connectTcp({ host, port }, onConnect)
        : connectTls({ host, port, ...servername, ...ssl }, onConnect);
    socket.once('connect', () => {
      const silence = setTimeout(() => socket.bytesRead === 0 && socket.destroy(new Error('no answer')), firstByteMs);
      socket.once('close', () => clearTimeout(silence));
    });
    // kafkajs hears of an end and of an error, not of a socket that was destroyed: its requests would wait on.
    let told = false;
    const tell = (): void => {
      told = true;
    };
    socket.once('end', tell).once('error', tell);
    socket.once('close', () => {
      sockets.delete(socket);
      if (!told) {
        socket.emit('error', new Error('the connection was closed'));
      }
    });
    if (ssl === undefined || ssl === null) {
      socket.once('data', (bytes: Buffer) => {
        if (isTlsRecord(bytes)) {
          socket.destroy(new TlsWanted());
        }
      });
    }
    sockets.add(socket);
    return socket.setKeepAlive(true, 60_000).setNoDelay(true);
  };
}

function saslOptions({ sasl }: KafkaConfig): SASLOptions | undefined {
  switch (sasl?.mechanism) {
    case undefined:
      return undefined;
    case 'oauthbearer': {
      const token = credential(sasl.token);
      return { mechanism: 'oauthbearer', oauthBearerProvider: () => Promise.resolve({ value: token() }) };
    }
    case 'plain':
    case 'scram-sha-256':
    case 'scram-sha-512': {
      const { mechanism, username } = sasl;
      const password = credential(sasl.password);
      // kafkajs reads the password whenever it authenticates.
      const login = {
        username,
        get password(): string {
          return password();
        },
      };
      // One object a mechanism: kafkajs' type does not distribute over a union.
      return mechanism === 'plain'
        ? Object.assign(login, { mechanism })
        : mechanism === 'scram-sha-256'
          ? Object.assign(login, { mechanism })
          : Object.assign(login, { mechanism });
    }
  }
}

/** What kafkajs 2.2.4 keeps of a connection's requests (src/network/requestQueue). */
interface RequestQueue {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

/**
 * kafkajs 2.2.4 sets a timer of `-1 - Date.now()` ms after every response, and again whenever it fires, whether requests
 * wait or not: Node makes that 1 ms, prints a TimeoutNegativeWarning, and an idle connection burns CPU for ever. Here
 * the timer is set only while requests wait.
 */
function stopIdleTimers(): void {
  const require = createRequire(import.meta.url);
  const queue = require('kafkajs/src/network/requestQueue') as { readonly prototype: object };
  Object.assign(queue.prototype, {
    scheduleCheckPendingRequests(this: RequestQueue): void {
      if (this.throttleCheckTimeoutId === null && this.pending.length > 0) {
        const delayMs = Math.max(10, this.throttledUntil - Date.now());
        this.throttleCheckTimeoutId = setTimeout(() => {
          this.throttleCheckTimeoutId = null;
          this.checkPendingRequests();
        }, delayMs);
      }
    },
  });
}

/** What kafkajs 2.2.4 knows of a connection's session (src/network/connection). */
interface AuthenticatedConnection {
  readonly authenticatedAt: [seconds: number, nanoseconds: number] | null;
  /** Of `long`; 0: without an end. */
  readonly sessionLifetime: { toNumber(): number };
}

/** A request that leaves in time also arrives in time. */
const sessionShare = 0.7;

/**
 * kafkajs 2.2.4 authenticates again when less than 10 s of a session (KIP-368) are left: of a session of 10 s before every
 * request, which a broker refuses more than once a second. Here it does so when most of the session is over.
 */
function authenticateInTime(): void {
  const require = createRequire(import.meta.url);
  const connection = require('kafkajs/src/network/connection') as { readonly prototype: object };
  Object.assign(connection.prototype, {
    isAuthenticated(this: AuthenticatedConnection): boolean {
      if (this.authenticatedAt === null) {
        return false;
      }
      const [seconds, nanoseconds] = process.hrtime(this.authenticatedAt);
      const lifetimeMs = this.sessionLifetime.toNumber();
      return lifetimeMs === 0 || seconds * 1000 + nanoseconds / 1e6 < lifetimeMs * sessionShare;
    },
  });
}
