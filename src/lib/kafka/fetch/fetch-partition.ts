import type { FetchedBatch, TopicPartition } from '../../ports.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { FetchedBytes, FetchQuestion, NewLeader } from '../fetch-request.ts';
import type { PackedAnswer } from './answer-reader.ts';
import { findBatches, type BatchesFound } from './record-batch.ts';

export interface Leader extends NewLeader {
  readonly topicId: string;
}

/** A question that is on its way. The answer counts only while the partition still waits for exactly this one. */
export interface OpenQuestion {
  readonly partition: FetchPartition;
  readonly question: FetchQuestion;
}

const backoff = { baseMs: 50, capMs: 1000 };
const unknownEpoch = -1;

/**
 * One partition that is read. Two things go on beside each other:
 *
 * *Fetching*: without leader (until `retryAtMs` has passed and the cluster was asked) → may be asked → asked → (answer
 * with records) may be asked again from behind them; (leader gone, connection lost) without leader, later each time. Not
 * asked while an answer waits.
 *
 * *Delivering*: idle → delivering one answer after the other, each when the one before has found room. So of one partition
 * there is one answer being delivered, and one waiting, packed.
 *
 * A seek drops what is under way and what waits; what is being delivered ends with the piece in hand. A removed partition
 * stays removed: the next assignment is another object.
 */
export class FetchPartition implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  readonly deliver: (batch: FetchedBatch) => Promise<void>;
  leader: Leader | null = null;
  retryAtMs = 0;
  delivering = false;
  waiting: PackedAnswer | null = null;
  /** How often in a row the broker said that the position is not in its log. */
  misplaced = 0;
  removed = false;
  #position: bigint;
  /** Of the record before the position, once one was read. */
  #lastEpoch = unknownEpoch;
  /** The latest that we know of. */
  #leaderEpoch = unknownEpoch;
  #open: OpenQuestion | null = null;
  #reading = 0;
  #failures = 0;

  constructor({ topic, partition }: TopicPartition, position: bigint, deliver: FetchPartition['deliver']) {
    this.topic = topic;
    this.partition = partition;
    this.#position = position;
    this.deliver = deliver;
  }

  /** Where the next fetch begins. */
  get position(): bigint {
    return this.#position;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Changes with each seek: what was read under another number is not delivered. */
  get reading(): number {
    return this.#reading;
  }

  get mayBeAsked(): boolean {
    return !this.removed && this.leader !== null && this.#open === null && this.waiting === null;
  }

  ask(): OpenQuestion {
    const { topic, partition, leader } = this;
    const question = {
      topic,
      partition,
      position: this.#position,
      topicId: leader?.topicId ?? '',
      leaderEpoch: leader?.leaderEpoch ?? unknownEpoch,
      lastFetchedEpoch: this.#lastEpoch,
    };
    this.#open = { partition: this, question };
    return this.#open;
  }

  /** Ends the question. False: it was overtaken by a seek, or the partition was removed. */
  settle(question: OpenQuestion): boolean {
    const isCurrent = this.#open === question && !this.removed;
    if (this.#open === question) {
      this.#open = null;
    }
    return isCurrent;
  }

  /** Takes a good answer, and moves the position behind it. */
  take(answer: FetchedBytes): BatchesFound['foreign'] {
    this.#failures = 0;
    this.misplaced = 0;
    const { batches, foreign } = findBatches(answer.batches);
    const last = batches.at(-1);
    if (last === undefined || last.lastOffset < this.#position) {
      return foreign;
    }
    const position = this.#position;
    this.#position = last.lastOffset + 1n;
    this.#lastEpoch = last.leaderEpoch;
    const { highWatermark, aborted } = answer;
    const bytes = answer.batches.reduce((sum, batch) => sum + batch.length, 0);
    this.waiting = { position, nextPosition: this.#position, highWatermark, batches, aborted, bytes };
    return foreign;
  }

  /** False: we have heard of a later one; the cluster's answer is old. */
  lead(leader: Leader): boolean {
    if (leader.leaderEpoch < this.#leaderEpoch) {
      return false;
    }
    this.#leaderEpoch = leader.leaderEpoch;
    this.leader = leader;
    return true;
  }

  /** The leader does not answer, or is none: the cluster is asked again, after a pause that grows. */
  loseLeader(nowMs: number, random: () => number): void {
    this.leader = null;
    this.#failures += 1;
    this.retryAtMs = nowMs + backoffMs(this.#failures, backoff, random);
  }

  /** The history before the position is not told: the log may have forgotten it. */
  forgetEpoch(): void {
    this.#lastEpoch = unknownEpoch;
  }

  seek(position: bigint): void {
    this.#position = position;
    this.#lastEpoch = unknownEpoch;
    this.#open = null;
    this.waiting = null;
    this.#reading += 1;
    this.misplaced = 0;
  }

  remove(): void {
    this.removed = true;
    this.waiting = null;
    this.#reading += 1;
  }
}
