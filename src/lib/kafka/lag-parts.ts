import { partitionKey, type LogEnds, type Sight } from '../ports.ts';
import type { Answered } from './answers.ts';
import type { NamedBroker } from './broker-calls.ts';
import type { MetadataResponse } from './connections.ts';
import { isMoving, refusalText } from './failures.ts';
import { unknownTopic } from './topic-requests.ts';

/** What answers about many groups and partitions mean for each of them. Pure. */

/** A part of an answer, or why there was no answer at all. */
export type Part<Value> = Answered<Value> | Sight<Value>;

export type TopicMetadata = MetadataResponse['topics'][number];

export function isUnsettled(part: Part<unknown>): boolean {
  return part.kind === 'refused' && isMoving(part.refusal);
}

export function partOf<Value>(answer: Sight<ReadonlyMap<string, Answered<Value>>>, key: string): Part<Value> {
  return answer.kind === 'unknown'
    ? answer
    : (answer.value.get(key) ?? { kind: 'unknown', reason: 'the broker did not answer for it' });
}

/** @param what as in `no right to …` */
export function sightOf<Value>(part: Part<Value> | undefined, what: string): Sight<Value> {
  if (part === undefined) {
    return { kind: 'unknown', reason: 'the brokers did not answer for it' };
  }
  return part.kind === 'refused' ? { kind: 'unknown', reason: refusalText(part.refusal, what) } : part;
}

export function bothEnds(start: Part<bigint>, end: Part<bigint>): Part<LogEnds> {
  if (start.kind !== 'known') {
    return start;
  }
  return end.kind === 'known'
    ? { kind: 'known', value: { logStartOffset: start.value, highWatermark: end.value } }
    : end;
}

/** Kafka gives the partitions of a topic whose leaders are being elected, with an error code of the topic's. */
export function isVisible({ errorCode, partitions }: TopicMetadata): boolean {
  return errorCode === 0 || (errorCode !== unknownTopic && partitions.length > 0);
}

export function leadersOf(
  brokers: MetadataResponse['brokers'],
  topics: readonly TopicMetadata[],
): ReadonlyMap<string, NamedBroker> {
  const byId = new Map(brokers.map((broker) => [broker.nodeId, broker]));
  return new Map(
    topics.flatMap(({ name, partitions }) =>
      partitions.flatMap(({ partitionIndex, leaderId }) => {
        const leader = byId.get(leaderId);
        return leader === undefined
          ? []
          : [[partitionKey({ topic: name ?? '', partition: partitionIndex }), leader] as const];
      }),
    ),
  );
}
