import type { API, Broker as BrokerAddress, Connection } from '@platformatic/kafka';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { hangUp, hangUpNext, isAccessFailure, isTlsRecord, TlsWanted } from './access-failures.ts';
import { forHost, kafkaClientOptions, type KafkaClientOptions } from './connection.ts';
import { connectionFailure, isConnectionLoss, unreachable } from './failures.ts';

/** The driver, as its module; it is imported with the first connection. */
export type KafkaDriver = typeof import('./driver.ts');
type Answer<Request extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<Request>>;
export type ApiVersionsResponse = Answer<KafkaDriver['apiVersionsV3']['api']['async']>;
export type MetadataResponse = Answer<KafkaDriver['metadataV12']['api']['async']>;

/** A broker that has said which requests it understands. */
export interface BrokerConnection {
  readonly connection: Connection;
  readonly versions: ApiVersionsResponse;
}

/** How long closing may take before the sockets are cut. */
const closeDeadlineMs = 1000;
/** Brokers refuse shorter sessions; the driver's timer turns one of months into one of a millisecond. */
const shortestSessionMs = 500;
/** So many connections in a row that were closed at their first request are no accident. */
const sureAfter = 3;

/**
 * Connections to a cluster's brokers, for single requests. All configured brokers are tried at once and the first one that
 * *answers* is taken: a broker that is stopped or partitioned accepts connections and says nothing, and trying three of
 * those one after the other would take three time-outs.
 *
 * Where brokers bound the sessions of SASL (KIP-368), a connection is replaced before its session ends: requests go to a
 * new one, what is under way on the old one is waited for. The driver would authenticate again on the connection in
 * use, and a request between two steps of that makes the broker hang up.
 */
export class KafkaConnections {
  readonly driver: KafkaDriver;
  readonly #config: KafkaConfig;
  readonly #options: KafkaClientOptions;
  readonly #open = new Map<string, Promise<BrokerConnection>>();
  readonly #made = new Set<Connection>();
  /** Their session is nearly over: no request begins on them. */
  readonly #expiring = new WeakSet<Connection>();
  readonly #underWay = new WeakMap<Connection, number>();
  #requests = 0;
  #hasAnswered = false;
  #closedAtOnce = 0;
  #closed = false;

  private constructor(driver: KafkaDriver, config: KafkaConfig, options: KafkaClientOptions) {
    this.driver = driver;
    this.#config = config;
    this.#options = options;
  }

  /** Loads the driver and reads certificates and secrets; connects with the first request. */
  static async prepare(config: KafkaConfig, requestTimeoutMs: number): Promise<KafkaConnections> {
    const connectTimeoutMs = Math.min(config.connectTimeout, requestTimeoutMs);
    const options = kafkaClientOptions(config, { connectTimeoutMs, requestTimeoutMs });
    return new KafkaConnections(await import('./driver.ts'), config, options);
  }

  /** Requests sent so far, to all brokers: each one's versions are one, too; what TLS and SASL exchange is not counted. */
  get requests(): number {
    return this.#requests;
  }

  /** Any broker that answers. @throws KPIPE_KAFKA_UNREACHABLE naming each broker and its failure */
  async any(): Promise<BrokerConnection> {
    this.#requireOpen();
    const reasons: string[] = [];
    let decisive: KpipeError | undefined;
    const attempts = this.#options.bootstrapBrokers.map(async (address) => {
      try {
        return await this.to(address);
      } catch (error) {
        const failure = connectionFailure(this.#config, addressText(address), error);
        if (failure instanceof KpipeError) {
          decisive = failure;
        } else {
          reasons.push(failure);
        }
        throw error;
      }
    });
    try {
      return await Promise.any(attempts);
    } catch (error) {
      throw decisive ?? unreachable(this.#config, reasons, error);
    }
  }

  /** This broker. The connection is shared, and made again when it was lost. */
  async to(address: BrokerAddress): Promise<BrokerConnection> {
    this.#requireOpen();
    const key = addressText(address);
    const open = this.#open.get(key);
    if (open === undefined) {
      const attempt = this.#connect(address);
      this.#open.set(key, attempt);
      attempt.catch(() => this.#forget(key, attempt));
      return attempt;
    }
    const broker = await open;
    if (broker.connection.isConnected() && !this.#expiring.has(broker.connection)) {
      return broker;
    }
    this.#forget(key, open);
    return this.to(address);
  }

  #requireOpen(): void {
    if (this.#closed) {
      throw new KpipeError('KPIPE_INTERNAL', 'the connections to Kafka are closed');
    }
  }

  #forget(key: string, attempt: Promise<BrokerConnection>): void {
    if (this.#open.get(key) === attempt) {
      this.#open.delete(key);
    }
  }

  async #connect(address: BrokerAddress): Promise<BrokerConnection> {
    const connection = new this.driver.Connection(this.#options.clientId, forHost(this.#options, address.host));
    const failures = this.#watch(connection);
    const beganMs = performance.now();
    connection.reauthenticate = () => {
      if (performance.now() - beganMs > shortestSessionMs) {
        this.#expire(connection, addressText(address));
      }
    };
    try {
      const connected = connection.connect(address.host, address.port);
      connection.socket.once('data', (bytes) => {
        if (this.#config.tls === undefined && isTlsRecord(bytes)) {
          failures.push(new TlsWanted());
        }
      });
      await connected;
      this.#requests += 1;
      const versions = await this.driver.apiVersionsV3.api.async(connection, 'kpipe', '1');
      return { connection, versions };
    } catch (error) {
      void connection.close();
      // What ended the connection says more than that it ended.
      const failure = connectionFailure(this.#config, addressText(address), new AggregateError([...failures, error]));
      throw isAccessFailure(failure) ? failure : error;
    }
  }

  /** Keeps count of it, and answers what goes wrong with it from now on. */
  #watch(connection: Connection): unknown[] {
    const failures: unknown[] = [];
    this.#made.add(connection);
    // The failure also rejects the call; without a listener the event would end the process.
    connection.on('error', (error) => failures.push(error));
    connection.once('close', () => {
      this.#made.delete(connection);
      // Ends the driver's timer for the session, which would keep the process.
      void connection.close();
    });
    return failures;
  }

  #expire(connection: Connection, key: string): void {
    this.#expiring.add(connection);
    const open = this.#open.get(key);
    void open?.then((broker) => {
      if (broker.connection === connection) {
        this.#forget(key, open);
      }
    }, ignore);
    this.#closeIfDone(connection);
  }

  #closeIfDone(connection: Connection): void {
    if (this.#expiring.has(connection) && (this.#underWay.get(connection) ?? 0) === 0) {
      void connection.close();
    }
  }

  /**
   * Sends a request in the newest of the versions given that the broker understands.
   * @throws KPIPE_KAFKA_FAILED when it understands none; else what the driver throws
   */
  request<Arguments extends unknown[], Response>(
    broker: BrokerConnection,
    candidates: readonly Pick<API<Arguments, Response>, 'async' | 'key' | 'version'>[],
    ...args: Arguments
  ): Promise<Response> {
    const api = candidates.find((candidate) => understands(broker, candidate));
    if (api === undefined) {
      throw new KpipeError(
        'KPIPE_KAFKA_FAILED',
        `the broker lacks request ${candidates[0]?.key ?? '?'} in a version that kpipe speaks`,
        {
          where: { host: `${broker.connection.host ?? ''}:${broker.connection.port ?? ''}` },
          next: 'kpipe needs Kafka 3.0 or newer',
        },
      );
    }
    this.#requests += 1;
    return this.#send(broker, (connection) => api.async(connection, ...args));
  }

  async #send<Response>(
    { connection }: BrokerConnection,
    send: (connection: Connection) => Promise<Response>,
  ): Promise<Response> {
    const { host, port } = connection;
    const isExpiring = this.#expiring.has(connection) && host !== undefined && port !== undefined;
    const usable = isExpiring ? (await this.to({ host, port })).connection : connection;
    this.#underWay.set(usable, (this.#underWay.get(usable) ?? 0) + 1);
    try {
      const response = await send(usable);
      this.#hasAnswered = true;
      return response;
    } catch (error) {
      throw this.#closedAtFirst(error) ?? error;
    } finally {
      this.#underWay.set(usable, (this.#underWay.get(usable) ?? 0) - 1);
      this.#closeIfDone(usable);
    }
  }

  /** A listener that wants SASL answers who comes without what it understands, and hangs up at the first real request. */
  #closedAtFirst(error: unknown): KpipeError | null {
    if (hangUp(this.#config, error) === null) {
      this.#hasAnswered ||= !isConnectionLoss(error);
      return null;
    }
    this.#closedAtOnce += 1;
    return this.#hasAnswered || this.#config.sasl !== undefined || this.#closedAtOnce < sureAfter
      ? null
      : new KpipeError('KPIPE_KAFKA_UNREACHABLE', 'the brokers close the connection at the first request', {
          where: { brokers: this.#config.brokers.join(',') },
          next: hangUpNext(this.#config),
          cause: error,
        });
  }

  /** Closes every connection, also those that are only being made; never waits longer than a second. */
  async close(): Promise<void> {
    this.#closed = true;
    const connections = [...this.#made];
    const closing = Promise.allSettled(connections.map((connection) => connection.close()));
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, closeDeadlineMs);
    await Promise.race([closing, deadline.promise]);
    clearTimeout(timer);
    for (const connection of connections) {
      connection.socket?.destroy();
    }
  }
}

export function understands(
  broker: BrokerConnection,
  api: { readonly key: number; readonly version: number },
): boolean {
  const offered = broker.versions.apiKeys.find(({ apiKey }) => apiKey === api.key);
  return offered !== undefined && offered.minVersion <= api.version && api.version <= offered.maxVersion;
}

function ignore(): void {
  // Whoever waits for the connection is told.
}

export function addressText({ host, port }: BrokerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
