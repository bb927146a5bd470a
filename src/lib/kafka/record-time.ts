import type { KafkaConfig } from '../config/load.ts';
import { messageOf } from '../errors.ts';
import { partitionKey, type FirstUnread, type PartitionPosition, type RecordTimeReader } from '../ports.ts';
import { withDeadline } from '../deadline.ts';
import { KafkaConnections, type MetadataResponse } from './connections.ts';
import { refusalText } from './failures.ts';
import { fetchBytes, type FetchBounds, type FetchedBytes } from './fetch-request.ts';
import { firstVisibleRecord } from './record-scan.ts';
import { metadata } from './topic-requests.ts';

/** Many partitions in one request: enough for the batch at the position of most. */
const wide: FetchBounds = { maxBytes: 8_000_000, partitionMaxBytes: 65_536, minBytes: 0, maxWaitMs: 0 };
/** One partition alone, whose batch was larger than that. */
const alone: FetchBounds = { maxBytes: 1_000_000, partitionMaxBytes: 1_000_000, minBytes: 0, maxWaitMs: 0 };
/** How many fetches in a row may bring nothing but aborted records before the search is given up. */
const maxRounds = 8;
/** Answers kept: a record's time does not change. */
const maxKept = 20_000;

type Found = Extract<FirstUnread, { kind: 'record' }>;

/** Opens a reader of record timestamps; connects with the first call. The caller closes it. */
export async function openRecordTimeReader(config: KafkaConfig, deadlineMs = 5000): Promise<RecordTimeReader> {
  return new RecordTimes(await KafkaConnections.prepare(config, deadlineMs), deadlineMs);
}

/** Record timestamps over connections that may be others' too; whoever made them closes them. */
export class RecordTimes implements RecordTimeReader {
  readonly #kafka: KafkaConnections;
  readonly #deadlineMs: number;
  /** By partition and position, oldest first. */
  readonly #kept = new Map<string, Found>();

  constructor(kafka: KafkaConnections, deadlineMs: number) {
    this.#kafka = kafka;
    this.#deadlineMs = deadlineMs;
  }

  /** @param leaders the cluster's metadata, where it is known already */
  async firstUnread(
    positions: readonly PartitionPosition[],
    leaders?: MetadataResponse,
  ): Promise<readonly FirstUnread[]> {
    const answers = new Map<string, FirstUnread>();
    for (const asked of positions) {
      const kept = this.#kept.get(keyOf(asked));
      if (kept !== undefined) {
        answers.set(keyOf(asked), kept);
      }
    }
    const open = positions.filter((asked) => !answers.has(keyOf(asked)));
    const giveUp = (reason: string): void => {
      for (const asked of open) {
        answers.set(keyOf(asked), answers.get(keyOf(asked)) ?? { kind: 'unknown', reason });
      }
    };
    try {
      await withDeadline(this.#search(open, answers, leaders), this.#deadlineMs, 'the records were not read');
    } catch (error) {
      giveUp(messageOf(error));
    }
    giveUp('no readable record was found within bounds');
    this.#keep(positions, answers);
    return positions.map((asked) => answers.get(keyOf(asked)) ?? { kind: 'unknown', reason: 'not asked' });
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }

  #keep(positions: readonly PartitionPosition[], answers: ReadonlyMap<string, FirstUnread>): void {
    for (const asked of positions) {
      const answer = answers.get(keyOf(asked));
      if (answer?.kind === 'record') {
        this.#kept.set(keyOf(asked), answer);
      }
    }
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= maxKept) {
        break;
      }
      this.#kept.delete(oldest);
    }
  }

  /** One round of batched requests, a broker each; then single ones for the partitions that need more. */
  async #search(
    open: readonly PartitionPosition[],
    answers: Map<string, FirstUnread>,
    known: MetadataResponse | undefined,
  ): Promise<void> {
    if (open.length === 0) {
      return;
    }
    const names = [...new Set(open.map(({ topic }) => topic))];
    const leaders = this.#leaders(open, answers, known ?? (await metadata(this.#kafka, { names })));
    await Promise.all([...leaders].map(([address, asked]) => this.#searchAt(address, asked, answers)));
  }

  /** What one broker leads. That it does not answer is a word about these partitions only. */
  async #searchAt(address: Address, asked: readonly Question[], answers: Map<string, FirstUnread>): Promise<void> {
    try {
      await Promise.all(
        oneOfEachPartition(asked).map(async (questions) => {
          const searches = questions.map((question) => ({ question, from: question.position }));
          for (const search of await this.#round(address, searches, wide, answers)) {
            await this.#searchOne(address, search, answers);
          }
        }),
      );
    } catch (error) {
      for (const question of asked.filter((each) => !answers.has(keyOf(each)))) {
        answers.set(keyOf(question), { kind: 'unknown', reason: messageOf(error) });
      }
    }
  }

  async #searchOne(address: Address, search: Search, answers: Map<string, FirstUnread>): Promise<void> {
    let next: readonly Search[] = [search];
    for (let round = 0; round < maxRounds && next.length > 0; round += 1) {
      next = await this.#round(address, next, alone, answers);
    }
  }

  /** Answers what it can; returns the searches that must go on, and from where. */
  async #round(
    address: Address,
    searches: readonly Search[],
    bounds: FetchBounds,
    answers: Map<string, FirstUnread>,
  ): Promise<readonly Search[]> {
    const broker = await this.#kafka.to(address);
    const asked = searches.map(({ question, from }) => ({
      ...question,
      position: from,
      leaderEpoch: -1,
      lastFetchedEpoch: -1,
    }));
    const { partitions: fetched } = await fetchBytes(this.#kafka, broker, asked, bounds);
    const byPartition = new Map(fetched.map((answer) => [partitionKey(answer), answer]));
    return searches.flatMap((search) => {
      const answer = byPartition.get(partitionKey(search.question));
      const result: Outcome =
        answer === undefined
          ? { kind: 'unknown', reason: 'the broker did not answer for it' }
          : this.#outcome(search.from, answer);
      if (result.kind === 'go on') {
        return [{ question: search.question, from: result.from }];
      }
      answers.set(keyOf(search.question), result);
      return [];
    });
  }

  #outcome(from: bigint, answer: FetchedBytes): Outcome {
    if (answer.errorCode !== 0) {
      const name = this.#kafka.driver.protocolErrorsCodesById[answer.errorCode] ?? `error ${answer.errorCode}`;
      return { kind: 'unknown', reason: refusalText({ id: name, message: '' }, `read topic ${answer.topic}`) };
    }
    const found = firstVisibleRecord(Buffer.concat(answer.batches), from, answer.aborted);
    switch (found.kind) {
      case 'record':
        return found;
      case 'old format':
        return { kind: 'unknown', reason: 'the record is in a format from before Kafka 0.11' };
      case 'none':
        if (found.nextPosition >= answer.highWatermark) {
          return { kind: 'nothing' };
        }
        return found.nextPosition >= answer.lastStableOffset
          ? { kind: 'held', lastStableOffset: answer.lastStableOffset }
          : { kind: 'go on', from: found.nextPosition };
    }
  }

  #leaders(
    open: readonly PartitionPosition[],
    answers: Map<string, FirstUnread>,
    { brokers, topics }: MetadataResponse,
  ): ReadonlyMap<Address, readonly Question[]> {
    const brokerOf = new Map(brokers.map((broker) => [broker.nodeId, broker]));
    const topicOf = new Map(
      topics.map(({ name, topicId, partitions }) => {
        const leaders = partitions.map(({ partitionIndex, leaderId }) => [partitionIndex, leaderId] as const);
        return [name, { topicId, leaders: new Map(leaders) }];
      }),
    );
    const groups = new Map<Address, Question[]>();
    for (const question of open) {
      const topic = topicOf.get(question.topic);
      const leader = brokerOf.get(topic?.leaders.get(question.partition) ?? -1);
      if (leader === undefined || topic === undefined) {
        answers.set(keyOf(question), { kind: 'unknown', reason: 'the partition has no leader' });
      } else {
        const asked = groups.get(leader) ?? [];
        asked.push({ ...question, topicId: topic.topicId });
        groups.set(leader, asked);
      }
    }
    return groups;
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Question extends PartitionPosition {
  readonly topicId: string;
}

interface Search {
  readonly question: Question;
  /** Where the next fetch begins. */
  readonly from: bigint;
}

type Outcome = FirstUnread | { readonly kind: 'go on'; readonly from: bigint };

/** A request names a partition once: several groups at several positions of it need several requests. */
function oneOfEachPartition(asked: readonly Question[]): readonly (readonly Question[])[] {
  const distinct = [...new Map(asked.map((question) => [keyOf(question), question])).values()];
  const layers: Question[][] = [];
  for (const ofPartition of Map.groupBy(distinct, partitionKey).values()) {
    for (const [index, question] of ofPartition.entries()) {
      (layers[index] ??= []).push(question);
    }
  }
  return layers;
}

function keyOf(asked: PartitionPosition): string {
  return `${partitionKey(asked)}@${asked.position}`;
}
