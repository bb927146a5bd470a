import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import { topicMissing } from '../kafka/produce-errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import { deadLetterTopics } from './dead-letter-topics.ts';
import type { Place } from './dead-letter.ts';
import { LetterIndex, quarantineAfter, type IndexedLetter } from './letter-index.ts';
import { isOfRole } from './list.ts';
import { openTopicReader, partitionsOf, scanTopic } from './scan.ts';
import type { Selection } from './selection.ts';

export interface RedriveRequest {
  readonly role: string;
  readonly selection: Selection;
  /** Default: each to the topic where it failed. */
  readonly to?: string | undefined;
  readonly max?: number | undefined;
  /** Also the quarantined. */
  readonly force: boolean;
  /** Also those that were redriven already. */
  readonly again: boolean;
}

/** Why a letter that matches stays. */
export type NotRedrivenWhy = 'quarantined' | 'undecodable' | 'value gone';

export interface NotRedriven {
  readonly source: Place;
  readonly why: NotRedrivenWhy;
}

/** What a redrive would do. */
export interface RedrivePlan {
  readonly role: string;
  readonly deadLetterTopic: string;
  readonly to: string | null;
  /** In the order in which they failed, by topic and partition: so the order of each key is kept. */
  readonly letters: readonly IndexedLetter[];
  readonly notRedriven: readonly NotRedriven[];
  /** Match, but more than were asked for. */
  readonly beyondMax: number;
  readonly alreadyRedriven: number;
  readonly again: boolean;
  /** The dead-letter topic does not exist. */
  readonly isMissing: boolean;
  readonly targets: readonly RedriveTarget[];
}

export interface RedriveTarget {
  readonly topic: string;
  readonly partitions: number;
  /** null: for ever. */
  readonly retentionMs: number | null;
}

/** Reads the dead-letter topic and says what a redrive would do; changes nothing. @throws KPIPE_USAGE, KPIPE_KAFKA_… */
export function planRedrive(config: Config, request: RedriveRequest, signal: AbortSignal): Promise<RedrivePlan> {
  const [found] = deadLetterTopics(config, request.role);
  const topic = found?.topic ?? '';
  if (request.to === topic) {
    throw new KpipeError('KPIPE_USAGE', `${topic} is where the dead letters lie: they cannot be redriven into it`, {
      next: 'leave out --to: each goes to the topic where it failed',
    });
  }
  return withKafkaAdmin(config.kafka, async (admin) => {
    const partitions = await partitionsOf(admin, topic);
    const index = new LetterIndex((letter) => isOfRole(letter, request.role) && request.selection.matches(letter));
    if (partitions !== null) {
      const reader = openTopicReader(config.kafka, topic);
      try {
        await scanTopic(admin, reader, partitions, (at, record) => index.add(at, record), { signal });
      } finally {
        await reader.close();
      }
    }
    const sorted = sortOut(index, request);
    const to = request.to ?? null;
    const names = to === null ? sorted.letters.map(({ source }) => source.topic) : [to];
    return {
      role: request.role,
      deadLetterTopic: topic,
      to,
      ...sorted,
      again: request.again,
      isMissing: partitions === null,
      targets: sorted.letters.length === 0 ? [] : await targetsOf(admin, [...new Set(names)]),
    };
  });
}

function sortOut(
  index: LetterIndex,
  { force, again, max }: RedriveRequest,
): Pick<RedrivePlan, 'letters' | 'notRedriven' | 'beyondMax' | 'alreadyRedriven'> {
  const meant: IndexedLetter[] = [];
  const notRedriven: NotRedriven[] = [];
  let alreadyRedriven = 0;
  for (const letter of index.letters.toSorted(bySource)) {
    if (!again && index.isRedriven(letter.identity)) {
      alreadyRedriven += 1;
    } else if (letter.isUndecodable) {
      notRedriven.push({ source: letter.source, why: 'undecodable' });
    } else if (!force && letter.redrives >= quarantineAfter) {
      notRedriven.push({ source: letter.source, why: 'quarantined' });
    } else {
      meant.push(letter);
    }
  }
  const letters = meant.slice(0, max);
  return { letters, notRedriven, beyondMax: meant.length - letters.length, alreadyRedriven };
}

/** By topic, partition and offset: records of one key failed in the order of their offsets. */
function bySource({ source: left }: IndexedLetter, { source: right }: IndexedLetter): number {
  if (left.topic !== right.topic) {
    return left.topic < right.topic ? -1 : 1;
  }
  return left.partition - right.partition || (left.offset < right.offset ? -1 : left.offset > right.offset ? 1 : 0);
}

/** @throws KPIPE_TOPIC_MISSING */
async function targetsOf(admin: ClusterAdmin, names: readonly string[]): Promise<readonly RedriveTarget[]> {
  const [descriptions, configs] = await Promise.all([admin.describeTopics(names), admin.topicConfigs(names)]);
  return names.map((topic) => {
    const description = descriptions.find(({ name }) => name === topic);
    if (description === undefined) {
      throw topicMissing(topic);
    }
    const retention = Number(configs.get(topic)?.get('retention.ms')?.value ?? '-1');
    return { topic, partitions: description.partitions.length, retentionMs: retention < 0 ? null : retention };
  });
}
