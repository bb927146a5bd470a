import { KpipeError, messageOf, type ErrorCode } from '../errors.ts';
import type { LagTarget } from '../offsets/targets.ts';
import type { GroupCommit } from '../ports.ts';
import type { MoveRequest } from '../postgres/replay-positions.ts';
import { formatCommitMark } from './commit-mark.ts';
import {
  formatEntry,
  isOpen,
  readStories,
  storyOf,
  type JournalEntry,
  type JournalMove,
  type JournalRecord,
  type JournalStory,
} from './journal.ts';
import { observeReplay, type ReplayRole, type ReplayStores } from './observe.ts';
import type { ReplayPlan } from './replay-plan.ts';
import { truthOf } from './truth.ts';

/** What a replay acts on. */
export interface ReplayEdges extends ReplayStores {
  readonly journal: {
    read(): Promise<readonly JournalRecord[]>;
    append(key: string, value: Buffer): Promise<void>;
  };
  /** Finishes batches that are on their way into BigQuery; the group must have no members. */
  readonly finishIntents: (role: LagTarget, partitions: readonly number[]) => Promise<void>;
  readonly newId: () => string;
  /** `user@host`. */
  readonly operator: string;
}

/** What was done; the JSON contract of `replay apply` and `replay undo`. */
export interface ReplayResult {
  /** null: nothing was to be done. */
  readonly id: string | null;
  readonly role: string;
  readonly group: string;
  readonly topic: string;
  readonly state: 'done' | 'withdrawn' | 'nothing to do';
  readonly undoes: string | null;
  readonly partitions: readonly {
    readonly partition: number;
    readonly from: bigint | null;
    readonly to: bigint | null;
    /** As they were read back. */
    readonly position: bigint | null;
    readonly committedOffset: bigint | null;
  }[];
  readonly notes: readonly string[];
}

/** The steps of an entry that is journalled: truth, mirror, and a look at whether it is so. */
export async function carryOut(role: ReplayRole, begun: JournalEntry, edges: ReplayEdges): Promise<ReplayResult> {
  const entry = begun.state === 'begun' ? await setTruth(role, begun, edges) : begun;
  try {
    const notes = await mirror(entry, edges);
    const result = await readBack(role, entry, notes, edges);
    await write(edges, { ...entry, state: 'done' });
    return result;
  } catch (error) {
    throw halfDone('KPIPE_PARTLY_DONE', entry, error, 'the positions are set');
  }
}

/** After this the role reads from the new positions, whatever becomes of the rest. */
async function setTruth(role: ReplayRole, begun: JournalEntry, edges: ReplayEdges): Promise<JournalEntry> {
  try {
    const entry = begun.truth === 'postgres' ? begun : await settleIntents(role, begun, edges);
    if (edges.positions !== null) {
      await edges.positions.set({ ...moveRequest(entry), replayId: entry.id });
    } else {
      const now = storyOf(await stories(edges), entry.id);
      if (!isOpen(now)) {
        throw new KpipeError('KPIPE_REFUSED', `replay ${entry.id} was ${now.state} by another operator`);
      }
      await commitMoves(entry, edges);
    }
    const set: JournalEntry = { ...entry, state: 'set' };
    await write(edges, set);
    return set;
  } catch (error) {
    if (error instanceof KpipeError && error.exitCode === 4) {
      await withdraw(edges, begun, error.message);
      throw error;
    }
    const code = error instanceof KpipeError ? error.code : 'KPIPE_INTERNAL';
    throw halfDone(code, begun, error, 'whether the positions are set is not known');
  }
}

/** Only in the group's commits: the batch that is half-way into BigQuery is finished, and what it is journalled from is told again. */
async function settleIntents(role: ReplayRole, begun: JournalEntry, edges: ReplayEdges): Promise<JournalEntry> {
  const before = await observeReplay(role, edges);
  const open = before.partitions.filter(({ openIntentTo }) => openIntentTo !== null).map(({ partition }) => partition);
  const concerned = open.filter((partition) => begun.moves.some((move) => move.partition === partition));
  if (concerned.length > 0) {
    await edges.finishIntents(role, concerned);
  }
  const seen = concerned.length > 0 ? await observeReplay(role, edges) : before;
  if (truthOf(begun, seen) === 'set') {
    return begun;
  }
  const moves = begun.moves.map((move): JournalMove => {
    const position = seen.partitions.find(({ partition }) => partition === move.partition)?.position ?? null;
    if (position !== move.from && !concerned.includes(move.partition)) {
      throw new KpipeError('KPIPE_PLAN_STALE', `role ${begun.role} has moved since the plan was made`, {
        where: { topic: begun.topic, partition: move.partition, planned: text(move.from), found: text(position) },
        next: 'plan again; stop the role or use --pause-role',
      });
    }
    return { ...move, from: position };
  });
  const settled = { ...begun, moves };
  if (concerned.length > 0) {
    await write(edges, settled);
  }
  return settled;
}

async function commitMoves(entry: JournalEntry, { admin }: ReplayEdges): Promise<void> {
  const { topic, group, id } = entry;
  const commits = entry.moves.flatMap(({ partition, to }): GroupCommit[] =>
    to === null ? [] : [{ topic, partition, offset: to, metadata: formatCommitMark(id) }],
  );
  const forgotten = entry.moves.filter(({ to }) => to === null).map(({ partition }) => ({ topic, partition }));
  if (commits.length > 0) {
    await admin.commitOffsets(group, commits);
  }
  if (forgotten.length > 0) {
    await admin.forgetOffsets(group, forgotten);
  }
}

/** For the roles whose truth is elsewhere, so that lag tools see it too. Members that came back mirror it themselves. */
async function mirror(entry: JournalEntry, edges: ReplayEdges): Promise<readonly string[]> {
  if (entry.truth === 'group') {
    return [];
  }
  try {
    await commitMoves(entry, edges);
    return [];
  } catch (error) {
    if (error instanceof KpipeError && error.code === 'KPIPE_REFUSED') {
      return ['the group has members again: they commit the new positions themselves'];
    }
    throw error;
  }
}

async function readBack(
  role: ReplayRole,
  entry: JournalEntry,
  notes: readonly string[],
  edges: ReplayEdges,
): Promise<ReplayResult> {
  const seen = await observeReplay(role, edges);
  const partitions = entry.moves.map(({ partition, from, to }) => {
    const now = seen.partitions.find((situation) => situation.partition === partition);
    return { partition, from, to, position: now?.position ?? null, committedOffset: now?.committedOffset ?? null };
  });
  // Members that came back meanwhile read on from there: then it is no longer to be compared.
  const wrong = partitions.find(({ to, position, committedOffset }) => position !== to || committedOffset !== to);
  if (seen.members.length === 0 && wrong !== undefined) {
    throw new KpipeError('KPIPE_PARTLY_DONE', `what was read back is not what was set`, {
      where: {
        topic: entry.topic,
        partition: wrong.partition,
        set: text(wrong.to),
        position: text(wrong.position),
        committed: text(wrong.committedOffset),
      },
    });
  }
  return { ...emptyResult(entry), id: entry.id, state: 'done', undoes: entry.undoes, partitions, notes };
}

function halfDone(code: ErrorCode, entry: JournalEntry, error: unknown, what: string): KpipeError {
  return new KpipeError(code, `replay ${entry.id} has stopped, ${what}: ${messageOf(error)}`, {
    where: error instanceof KpipeError ? error.where : {},
    next: `\`kpipe replay apply --resume ${entry.id}\` finishes it, \`kpipe replay undo ${entry.id}\` takes it back`,
    cause: error,
  });
}

/** Every step is written down before the next is begun. */
export async function write({ journal }: ReplayEdges, entry: JournalEntry): Promise<void> {
  await journal.append(entry.id, formatEntry(entry));
}

export async function withdraw(edges: ReplayEdges, entry: JournalEntry, reason: string): Promise<void> {
  await write(edges, { ...entry, state: 'withdrawn', reason });
}

/** @throws KPIPE_KAFKA_… */
export async function stories({ journal }: Pick<ReplayEdges, 'journal'>): Promise<readonly JournalStory[]> {
  return readStories(await journal.read());
}

export function moveRequest({ role, topic, topicId, moves }: JournalEntry): Omit<MoveRequest, 'replayId'> {
  return {
    role,
    topic,
    topicId,
    moves: moves.map(({ partition, from, epoch, to }) => ({
      partition,
      expected: from === null || epoch === null ? null : { position: from, epoch },
      to,
    })),
  };
}

export function emptyResult(of: Pick<ReplayPlan, 'role' | 'group' | 'topic'>): ReplayResult {
  return {
    id: null,
    role: of.role,
    group: of.group,
    topic: of.topic,
    state: 'nothing to do',
    undoes: null,
    partitions: [],
    notes: [],
  };
}

function text(offset: bigint | null): string {
  return offset === null ? 'none' : offset.toString();
}
