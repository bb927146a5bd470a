import type { API, Broker as BrokerAddress } from '@platformatic/kafka';

import type { KafkaConfig } from '../../config/load.ts';
import { codeOf } from '../../errors.ts';
import { isAccessFailure } from '../access-failures.ts';
import { addressText, KafkaConnections, type BrokerConnection } from '../connections.ts';
import { isTransient, refusalsOf } from '../failures.ts';

/**
 * `quick`: heartbeats, and questions. `patient`: JoinGroup and SyncGroup, which are answered when the others have joined.
 * `commits`. A broker answers the requests of one connection one after the other, so each has its own.
 */
export type Lane = 'quick' | 'patient' | 'commits';

const quickTimeoutMs = 3000;
const commitTimeoutMs = 10_000;
/** How often it is asked, while an answer is waited for, whether the coordinator is still that one. */
const watchEveryMs = 2000;

/** The broker that coordinates a group: found, remembered, and looked for again when it has moved or gone. */
export class GroupCoordinator {
  readonly #group: string;
  readonly #lanes: Readonly<Record<Lane, KafkaConnections>>;
  readonly #now: () => number;
  #address: Promise<BrokerAddress> | null = null;
  #contactAt: number;

  private constructor(group: string, lanes: Readonly<Record<Lane, KafkaConnections>>, now: () => number) {
    this.#group = group;
    this.#lanes = lanes;
    this.#now = now;
    this.#contactAt = now();
  }

  static async open(
    config: KafkaConfig,
    { group, clientId, patienceMs, now }: CoordinatorOptions,
  ): Promise<GroupCoordinator> {
    const named = { ...config, clientId };
    const [quick, patient, commits] = await Promise.all(
      [quickTimeoutMs, patienceMs, commitTimeoutMs].map((timeoutMs) => KafkaConnections.prepare(named, timeoutMs)),
    );
    if (quick === undefined || patient === undefined || commits === undefined) {
      throw new TypeError('three were asked for');
    }
    return new GroupCoordinator(group, { quick, patient, commits }, now);
  }

  get driver(): KafkaConnections['driver'] {
    return this.#lanes.quick.driver;
  }

  /** For requests to any broker. */
  get anyBroker(): KafkaConnections {
    return this.#lanes.quick;
  }

  /**
   * When the group's side was last known not to count our silence: the coordinator answered, or the cluster said that
   * there is none at the moment (a new one gives every member a whole session).
   */
  get contactAt(): number {
    return this.#contactAt;
  }

  /** @throws what the driver throws; the coordinator is looked for again if that may be why */
  async send<Arguments extends unknown[], Response>(
    lane: Lane,
    versions: readonly Pick<API<Arguments, Response>, 'async' | 'key' | 'version'>[],
    ...args: Arguments
  ): Promise<Response> {
    const address = await this.#find();
    const kafka = this.#lanes[lane];
    try {
      const broker = await this.#connect(kafka, address);
      const response = await this.#watched(lane, broker, address, kafka.request(broker, versions, ...args));
      this.#contactAt = this.#now();
      return response;
    } catch (error) {
      const isRefusal = refusalsOf(error).length > 0 && !isAccessFailure(error);
      if (!isRefusal || isTransient(error)) {
        this.#address = null;
      }
      if (isRefusal) {
        this.#contactAt = this.#now();
      }
      throw error;
    }
  }

  async #connect(kafka: KafkaConnections, address: BrokerAddress): Promise<BrokerConnection> {
    try {
      return await kafka.to(address);
    } catch (error) {
      if (isRefusedConnection(error)) {
        // Its process is gone, so it counts nobody's silence.
        this.#contactAt = this.#now();
      }
      throw error;
    }
  }

  async #find(): Promise<BrokerAddress> {
    const known = this.#address;
    if (known !== null) {
      return known;
    }
    const found = this.#ask();
    this.#address = found;
    found.catch(() => {
      if (this.#address === found) {
        this.#address = null;
      }
    });
    return found;
  }

  async #ask(): Promise<BrokerAddress> {
    const { driver } = this;
    const kafka = this.#lanes.quick;
    const versions = [driver.findCoordinatorV6.api, driver.findCoordinatorV5.api, driver.findCoordinatorV4.api];
    try {
      const keyType = driver.FindCoordinatorKeyTypes.GROUP;
      const { coordinators } = await kafka.request(await kafka.any(), versions, keyType, [this.#group]);
      const [first] = coordinators;
      if (first === undefined) {
        throw new TypeError('a coordinator was asked for, and none answered');
      }
      return { host: first.host, port: first.port };
    } catch (error) {
      if (refusalsOf(error).some(({ id }) => id.startsWith('COORDINATOR_'))) {
        this.#contactAt = this.#now();
      }
      throw error;
    }
  }

  /** A frozen broker would keep us waiting for as long as a rebalance may take: the others know when it is replaced. */
  async #watched<Response>(
    lane: Lane,
    broker: BrokerConnection,
    address: BrokerAddress,
    answer: Promise<Response>,
  ): Promise<Response> {
    if (lane !== 'patient') {
      return answer;
    }
    const watch = setInterval(() => {
      this.#ask().then(
        (present) => {
          if (addressText(present) === addressText(address)) {
            this.#contactAt = this.#now();
          } else {
            broker.connection.socket?.destroy();
          }
        },
        // Whoever waits has a deadline of its own.
        () => undefined,
      );
    }, watchEveryMs);
    try {
      return await answer;
    } finally {
      clearInterval(watch);
    }
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#lanes).map((kafka) => kafka.close()));
  }
}

export interface CoordinatorOptions {
  readonly group: string;
  readonly clientId: string;
  /** How long a rebalance may take. */
  readonly patienceMs: number;
  readonly now: () => number;
}

function isRefusedConnection(error: unknown): boolean {
  return (
    codeOf(error) === 'ECONNREFUSED' ||
    (error instanceof Error && error.cause !== undefined && isRefusedConnection(error.cause)) ||
    (error instanceof AggregateError && error.errors.some(isRefusedConnection))
  );
}
