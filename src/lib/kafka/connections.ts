import type { API, Broker as BrokerAddress, Connection } from '@platformatic/kafka';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { kafkaClientOptions, type KafkaClientOptions } from './connection.ts';
import { connectionFailure, unreachable } from './failures.ts';

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

/**
 * Connections to a cluster's brokers, for single requests. All configured brokers are tried at once and the first one that
 * *answers* is taken: a broker that is stopped or partitioned accepts connections and says nothing, and trying three of
 * those one after the other would take three time-outs.
 */
export class KafkaConnections {
  readonly driver: KafkaDriver;
  readonly #config: KafkaConfig;
  readonly #options: KafkaClientOptions;
  readonly #open = new Map<string, Promise<BrokerConnection>>();
  readonly #made = new Set<Connection>();
  #requests = 0;
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
    if (this.#closed) {
      throw new KpipeError('KPIPE_INTERNAL', 'the connections to Kafka are closed');
    }
    const key = addressText(address);
    const open = this.#open.get(key);
    if (open === undefined) {
      const attempt = this.#connect(address);
      this.#open.set(key, attempt);
      attempt.catch(() => this.#forget(key, attempt));
      return attempt;
    }
    const broker = await open;
    if (broker.connection.isConnected()) {
      return broker;
    }
    this.#forget(key, open);
    return this.to(address);
  }

  #forget(key: string, attempt: Promise<BrokerConnection>): void {
    if (this.#open.get(key) === attempt) {
      this.#open.delete(key);
    }
  }

  async #connect(address: BrokerAddress): Promise<BrokerConnection> {
    const connection = new this.driver.Connection(this.#options.clientId, this.#options);
    this.#made.add(connection);
    // The failure also rejects the call; without a listener the event would end the process.
    connection.on('error', () => undefined);
    connection.once('close', () => this.#made.delete(connection));
    await connection.connect(address.host, address.port);
    this.#requests += 1;
    const versions = await this.driver.apiVersionsV3.api.async(connection, 'kpipe', '1');
    return { connection, versions };
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
    return api.async(broker.connection, ...args);
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

export function addressText({ host, port }: BrokerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
