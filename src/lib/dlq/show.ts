import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import type { ClusterAdmin, SourceRecord } from '../ports.ts';
import { shownBytes, type ShownBytes } from '../records/shown-bytes.ts';
import { adviceFor } from './advice.ts';
import { placeText, readDeadLetter, type DeadLetter, type Place } from './dead-letter.ts';
import { deadLetterTopics, type DeadLetterTopic } from './dead-letter-topics.ts';
import { LetterIndex } from './letter-index.ts';
import { isOfRole } from './list.ts';
import { originOf } from './origin.ts';
import { openTopicReader, partitionsOf, readPlaces, scanTopic } from './scan.ts';
import { shownLetter, type ShownLetter } from './shown-letter.ts';

export interface DlqShowReport extends ShownLetter {
  readonly value: ShownBytes;
  /** `origin`: read from where the record failed, since it was too large; `gone`: not there any more. */
  readonly valueFrom: 'dead letter' | 'origin' | 'gone';
  /** What the reason means, and what to do about it. */
  readonly means: string;
  readonly next: string;
}

/**
 * One dead letter, whole, by the place where its record failed.
 * @throws KPIPE_USAGE: there is none; KPIPE_KAFKA_…; the signal's reason
 */
export function showDeadLetter(
  config: Config,
  role: string,
  place: Place,
  signal: AbortSignal,
): Promise<DlqShowReport> {
  const [topic] = deadLetterTopics(config, role);
  return withKafkaAdmin(config.kafka, async (admin) => {
    const report = topic === undefined ? null : await find(config, admin, topic, role, place, signal);
    if (report === null) {
      throw new KpipeError('KPIPE_USAGE', `there is no dead letter of ${placeText(place)}`, {
        where: { role, topic: topic?.topic },
        next: `\`kpipe dlq list ${role} --all\` shows what there is`,
      });
    }
    return report;
  });
}

async function find(
  config: Config,
  admin: ClusterAdmin,
  { topic }: DeadLetterTopic,
  role: string,
  place: Place,
  signal: AbortSignal,
): Promise<DlqShowReport | null> {
  const partitions = await partitionsOf(admin, topic);
  if (partitions === null) {
    return null;
  }
  const index = new LetterIndex((letter) => isOfRole(letter, role) && placeText(letter.source) === placeText(place));
  const reader = openTopicReader(config.kafka, topic);
  try {
    await scanTopic(admin, reader, partitions, (at, record) => index.add(at, record), { signal });
    // The newest, should the topic have been made again: its offsets repeat.
    const indexed = index.letters.toSorted((left, right) => right.atMs - left.atMs)[0];
    const record = indexed && (await readPlaces(admin, reader, [indexed.lies], signal))(indexed.lies);
    const read = record && readDeadLetter(indexed.lies, record);
    if (read?.kind !== 'letter' || indexed === undefined) {
      return null;
    }
    const shown = shownLetter(read.letter, index.stateOf(indexed), indexed.copies);
    const content = await contentOf(config, admin, read.letter, signal);
    return { ...shown, ...content, ...adviceFor(read.letter) };
  } finally {
    await reader.close();
  }
}

async function contentOf(
  config: Config,
  admin: ClusterAdmin,
  letter: DeadLetter,
  signal: AbortSignal,
): Promise<{ readonly value: ShownBytes; readonly valueFrom: DlqShowReport['valueFrom'] }> {
  if (letter.omittedBytes === null) {
    return { value: shownBytes(letter.value), valueFrom: 'dead letter' };
  }
  const origin: SourceRecord | null = await originOf(config.kafka, admin, letter, signal);
  return origin === null
    ? { value: null, valueFrom: 'gone' }
    : { value: shownBytes(origin.value), valueFrom: 'origin' };
}
