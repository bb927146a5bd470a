import type { Config } from '../config/load.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import type { ClusterAdmin } from '../ports.ts';
import { readDeadLetter, type DeadLetter } from './dead-letter.ts';
import { deadLetterTopics, type DeadLetterTopic } from './dead-letter-topics.ts';
import { LetterIndex, type IndexedLetter } from './letter-index.ts';
import { openTopicReader, partitionsOf, readPlaces, scanTopic } from './scan.ts';
import type { Selection } from './selection.ts';
import { shownLetter, type ShownLetter } from './shown-letter.ts';

export interface DlqListRequest {
  /** undefined: of every role. */
  readonly role: string | undefined;
  readonly selection: Selection;
  /** Also those that were redriven. */
  readonly all: boolean;
  readonly max: number;
}

export interface DlqListReport {
  /** null: of every role. */
  readonly role: string | null;
  /** Newest first, at most as many as were asked for. */
  readonly deadLetters: readonly ShownLetter[];
  /** Of all that match, shown or not. */
  readonly counts: LetterCounts;
  /** Records in the dead-letter topics that kpipe cannot read as dead letters. */
  readonly foreign: number;
  /** Topics of kpipe.yaml that do not exist. */
  readonly missingTopics: readonly string[];
}

export interface LetterCounts {
  readonly dead: number;
  readonly quarantined: number;
  readonly redriven: number;
  /** Of the dead and quarantined. */
  readonly byReason: Readonly<Record<string, number>>;
}

/** Reads the dead-letter topics to their ends. @throws KPIPE_USAGE, KPIPE_KAFKA_…; the signal's reason */
export function listDeadLetters(config: Config, request: DlqListRequest, signal: AbortSignal): Promise<DlqListReport> {
  const topics = deadLetterTopics(config, request.role);
  return withKafkaAdmin(config.kafka, async (admin) => {
    const parts: TopicPart[] = [];
    for (const topic of topics) {
      parts.push(await listTopic(config, admin, topic, request, signal));
    }
    const newest = parts
      .flatMap(({ letters }) => letters)
      .toSorted((left, right) => right.atMs - left.atMs)
      .slice(0, request.max);
    return {
      role: request.role ?? null,
      deadLetters: newest.map(({ shown }) => shown),
      counts: sumOf(parts.map(({ counts }) => counts)),
      foreign: parts.reduce((sum, { foreign }) => sum + foreign, 0),
      missingTopics: parts.flatMap(({ missing }) => missing),
    };
  });
}

interface TopicPart {
  readonly letters: readonly { readonly atMs: number; readonly shown: ShownLetter }[];
  readonly counts: LetterCounts;
  readonly foreign: number;
  readonly missing: readonly string[];
}

async function listTopic(
  config: Config,
  admin: ClusterAdmin,
  { topic }: DeadLetterTopic,
  { role, selection, all, max }: DlqListRequest,
  signal: AbortSignal,
): Promise<TopicPart> {
  const partitions = await partitionsOf(admin, topic);
  if (partitions === null) {
    return { letters: [], counts: countsOf([], new LetterIndex(() => false)), foreign: 0, missing: [topic] };
  }
  const index = new LetterIndex((letter) => isOfRole(letter, role) && selection.matches(letter));
  const reader = openTopicReader(config.kafka, topic);
  try {
    await scanTopic(admin, reader, partitions, (at, record) => index.add(at, record), { signal });
    const found = index.letters;
    const chosen = found
      .filter((letter) => all || index.stateOf(letter) !== 'redriven')
      .toSorted((left, right) => right.atMs - left.atMs)
      .slice(0, max);
    const recordAt = await readPlaces(
      admin,
      reader,
      chosen.map(({ lies }) => lies),
      signal,
    );
    const letters = chosen.flatMap((letter) => {
      const record = recordAt(letter.lies);
      const read = record === undefined ? null : readDeadLetter(letter.lies, record);
      return read?.kind === 'letter'
        ? [{ atMs: letter.atMs, shown: shownLetter(read.letter, index.stateOf(letter), letter.copies) }]
        : [];
    });
    return { letters, counts: countsOf(found, index), foreign: index.foreign, missing: [] };
  } finally {
    await reader.close();
  }
}

/** Where roles share a topic, a letter says whose it is; one that does not say belongs to each. */
export function isOfRole(letter: DeadLetter, role: string | undefined): boolean {
  return role === undefined || letter.role === null || letter.role === role;
}

export function countsOf(letters: readonly IndexedLetter[], index: LetterIndex): LetterCounts {
  const counts = { dead: 0, quarantined: 0, redriven: 0 };
  const byReason: Record<string, number> = {};
  for (const letter of letters) {
    const state = index.stateOf(letter);
    counts[state] += 1;
    if (state !== 'redriven') {
      byReason[letter.reason] = (byReason[letter.reason] ?? 0) + 1;
    }
  }
  return { ...counts, byReason };
}

function sumOf(parts: readonly LetterCounts[]): LetterCounts {
  const byReason: Record<string, number> = {};
  for (const [reason, count] of parts.flatMap((part) => Object.entries(part.byReason))) {
    byReason[reason] = (byReason[reason] ?? 0) + count;
  }
  const total = (state: 'dead' | 'quarantined' | 'redriven'): number =>
    parts.reduce((sum, part) => sum + part[state], 0);
  return { dead: total('dead'), quarantined: total('quarantined'), redriven: total('redriven'), byReason };
}
