import type { Broker as BrokerAddress } from '@platformatic/kafka';

import type { KafkaConfig } from '../config/load.ts';
import { DeadlineExpired, withDeadline } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import type { Sight } from '../ports.ts';
import { addressText, type BrokerConnection, type KafkaConnections } from './connections.ts';
import { callFailure, connectionFailure, isConnectionLoss, unreachable } from './failures.ts';

/** A broker as metadata and coordinator lookups name it. */
export interface NamedBroker extends BrokerAddress {
  readonly nodeId: number;
}

/**
 * Asks brokers for one look at the cluster, each within the same time. A connection that was lost meanwhile is made anew,
 * once. A broker that cannot be asked is an answer, and is not waited for a second time.
 */
export class BrokerCalls {
  readonly #config: KafkaConfig;
  readonly #kafka: KafkaConnections;
  readonly #answerMs: number;
  readonly #silent = new Map<string, string>();

  constructor(config: KafkaConfig, kafka: KafkaConnections, answerMs: number) {
    this.#config = config;
    this.#kafka = kafka;
    this.#answerMs = answerMs;
  }

  /** Brokers that did not answer, each with what was the matter. */
  get silent(): readonly string[] {
    return [...this.#silent.values()];
  }

  /** Asks any broker that answers. @throws KPIPE_KAFKA_UNREACHABLE, KPIPE_KAFKA_FAILED */
  async any<Answer>(what: string, ask: (broker: BrokerConnection) => Promise<Answer>): Promise<Answer> {
    const attempt = (): Promise<Answer> => withDeadline(this.#kafka.any().then(ask), this.#answerMs, 'no answer');
    try {
      return await attempt().catch((error: unknown) => {
        if (isConnectionLoss(error) || error instanceof DeadlineExpired) {
          return attempt();
        }
        throw error;
      });
    } catch (error) {
      throw error instanceof DeadlineExpired
        ? unreachable(this.#config, [`${error.message} while ${what}`], error)
        : callFailure(what, error, {});
    }
  }

  /** Asks this broker. Never throws: of a broker that does not answer, nothing is known. */
  async at<Answer>(
    broker: NamedBroker,
    ask: (connection: BrokerConnection) => Promise<Answer>,
  ): Promise<Sight<Answer>> {
    const key = addressText(broker);
    const silent = this.#silent.get(key);
    if (silent !== undefined) {
      return { kind: 'unknown', reason: silent };
    }
    const attempt = (): Promise<Answer> => this.#kafka.to(broker).then(ask);
    const answer = attempt().catch((error: unknown) => {
      if (isConnectionLoss(error)) {
        return attempt();
      }
      throw error;
    });
    try {
      return { kind: 'known', value: await withDeadline(answer, this.#answerMs, 'gave no answer') };
    } catch (error) {
      const failure = connectionFailure(this.#config, `broker ${broker.nodeId} (${key})`, error);
      const reason = typeof failure === 'string' ? failure : messageOf(failure);
      this.#silent.set(key, reason);
      return { kind: 'unknown', reason };
    }
  }
}
