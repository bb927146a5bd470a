import { setTimeout as sleep } from 'node:timers/promises';

import type { KafkaConnections } from '../connections.ts';
import { fetchBytes, type FetchAnswer, type FetchBounds } from '../fetch-request.ts';
import type { OpenQuestion } from './fetch-partition.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

/** What the lanes of a broker ask for and tell. */
export interface LaneOwner {
  /** The questions that this broker can be asked now. They are open until answered or failed. */
  questions(broker: BrokerLanes): readonly OpenQuestion[];
  hasQuestions(broker: BrokerLanes): boolean;
  answered(asked: readonly OpenQuestion[], answer: FetchAnswer): void;
  failed(asked: readonly OpenQuestion[], error: unknown): void;
}

export interface LaneConnections {
  /** Its requests wait at the broker: no other request may stand behind them. */
  readonly long: KafkaConnections;
  readonly short: KafkaConnections;
}

/** How long a partition that got room waits for the long poll to return before it goes by the side. */
const sideDelayMs = 5;
/** How long a request by the side may wait for records. */
const sideWaitMs = 10;

/**
 * Fetches from one broker. The *long poll* asks for every partition that may be asked and waits at the broker until one
 * of them has records. A broker works on one request of a connection at a time and cannot be told that another partition
 * may be asked, too: that one goes by a second connection, the *side*, in short polls until the long poll returns and the
 * next one takes everybody. A broker that has nothing to say costs one request per `maxWaitMs`.
 */
export class BrokerLanes {
  readonly address: BrokerAddress;
  readonly #connections: LaneConnections;
  readonly #owner: LaneOwner;
  readonly #bounds: FetchBounds;
  readonly #closed: AbortSignal;
  #isPolling = false;
  #isAside = false;

  constructor(
    address: BrokerAddress,
    connections: LaneConnections,
    bounds: FetchBounds,
    owner: LaneOwner,
    closed: AbortSignal,
  ) {
    this.address = address;
    this.#connections = connections;
    this.#bounds = bounds;
    this.#owner = owner;
    this.#closed = closed;
  }

  /** Call when a partition of this broker may be asked. */
  wake(): void {
    if (!this.#isPolling) {
      this.#isPolling = true;
      void this.#poll();
    } else if (!this.#isAside) {
      this.#isAside = true;
      void this.#aside();
    }
  }

  async #poll(): Promise<void> {
    // Whoever woke us may go on to say more: one request for all of it.
    await Promise.resolve();
    while (!this.#closed.aborted && this.#owner.hasQuestions(this)) {
      await this.#fetch(this.#connections.long, this.#bounds);
    }
    this.#isPolling = false;
  }

  async #aside(): Promise<void> {
    await sleep(sideDelayMs);
    while (!this.#closed.aborted && this.#isPolling && this.#owner.hasQuestions(this)) {
      await this.#fetch(this.#connections.short, { ...this.#bounds, minBytes: 1, maxWaitMs: sideWaitMs });
    }
    this.#isAside = false;
    if (!this.#isPolling && this.#owner.hasQuestions(this)) {
      this.wake();
    }
  }

  async #fetch(connections: KafkaConnections, bounds: FetchBounds): Promise<void> {
    const asked = this.#owner.questions(this);
    let answer: FetchAnswer;
    try {
      const broker = await connections.to(this.address);
      const questions = asked.map(({ question }) => question);
      answer = await fetchBytes(connections, broker, questions, bounds);
    } catch (error) {
      this.#owner.failed(asked, error);
      return;
    }
    this.#owner.answered(asked, answer);
  }
}
