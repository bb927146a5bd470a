import { KpipeError, messageOf, type ErrorCode } from '../errors.ts';
import type { LagTarget } from '../offsets/observe.ts';
import type { GroupCommit } from '../ports.ts';
import { formatCommitMark } from './commit-mark.ts';
import {
  formatEntry,
  inTheWay,
  readStories,
  storyOf,
  isOpen,
  type JournalEntry,
  type JournalMove,
  type JournalRecord,
  type JournalStory,
} from './journal.ts';
import type { ReplayObservation } from './observation.ts';
import { observeReplay, type ReplayRole, type ReplayStores } from './observe.ts';
import type { ReplayPlan } from './plan.ts';

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

export interface ApplyOrder {
  readonly undoes: string | null;
}

/**
 * Carries a plan out: journal, truth, mirror, and a look at whether it is so. Until the truth is set nothing has changed;
 * then it has, for good, whatever happens to this process (`history` tells, `resumeReplay` and `undo` go on from there).
 * @throws KPIPE_REFUSED, KPIPE_PLAN_STALE: nothing was changed; KPIPE_PARTLY_DONE: what was read back differs
 */
export async function applyReplay(
  role: ReplayRole,
  plan: ReplayPlan,
  order: ApplyOrder,
  edges: ReplayEdges,
): Promise<ReplayResult> {
  refuse(plan);
  const moves = plan.partitions
    .filter(({ change }) => change === 'back' || change === 'forward')
    .map(({ partition, position, epoch, targetOffset }) => ({ partition, from: position, epoch, to: targetOffset }));
  if (moves.length === 0) {
    return { ...emptyResult(plan), undoes: order.undoes };
  }
  const entry: JournalEntry = {
    version: 1,
    id: edges.newId(),
    kind: order.undoes === null ? 'replay' : 'undo',
    state: 'begun',
    role: plan.role,
    group: plan.group,
    topic: plan.topic,
    topicId: plan.topicId,
    truth: plan.truth,
    at: new Date(edges.now()).toISOString(),
    by: edges.operator,
    target: plan.to,
    undoes: order.undoes,
    reason: null,
    moves,
  };
  await write(edges, entry);
  const other = inTheWay(await stories(edges), entry.id);
  if (other !== undefined) {
    const refusal = alreadyUnderWay(other);
    await withdraw(edges, entry, refusal.message);
    throw refusal;
  }
  return carryOut(role, entry, edges);
}

/** Goes on with a replay whose process ended before it was done. @throws as `applyReplay`; KPIPE_USAGE for one that is done */
export async function resumeReplay(role: ReplayRole, story: JournalStory, edges: ReplayEdges): Promise<ReplayResult> {
  requireOpen(story);
  const seen = await observeReplay(role, edges);
  if (story.entry.state === 'begun' && truthOf(story.entry, seen) !== 'set' && seen.members.length > 0) {
    throw membersError(seen);
  }
  return carryOut(role, story.entry, edges);
}

/** Ends a replay that has set nothing yet, so that it can't go on any more either. */
export async function withdrawReplay(story: JournalStory, edges: ReplayEdges): Promise<ReplayResult> {
  const { entry } = story;
  requireOpen(story);
  await edges.positions?.fence({ ...moveRequest(entry), replayId: entry.id });
  await withdraw(edges, entry, 'undone before it had set a position');
  return { ...emptyResult(entry), id: entry.id, state: 'withdrawn', undoes: entry.id };
}

function requireOpen({ entry, state }: JournalStory): void {
  if (!isOpen({ state })) {
    throw new KpipeError('KPIPE_USAGE', `replay ${entry.id} is ${state}: there is nothing to finish`);
  }
}

async function carryOut(role: ReplayRole, begun: JournalEntry, edges: ReplayEdges): Promise<ReplayResult> {
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

/** How far an entry that is open has really come, by what the stores say. */
export function truthOf(entry: JournalEntry, seen: ReplayObservation): 'set' | 'not set' | 'unknown' {
  if (entry.state !== 'begun') {
    return 'set';
  }
  const now = entry.moves.map((move) => ({
    move,
    situation: seen.partitions.find(({ partition }) => partition === move.partition),
  }));
  const isSet = now.every(
    ({ move, situation }) => situation?.replayId === entry.id || (move.to === null && situation?.position === null),
  );
  if (isSet) {
    return 'set';
  }
  // PostgreSQL keeps the replay's name until the next replay; a group's commit only until the next commit.
  const isUntouched = now.every(({ move, situation }) => situation?.position === move.from);
  return entry.truth === 'postgres' || isUntouched ? 'not set' : 'unknown';
}

/** @throws KPIPE_REFUSED with every reason */
function refuse({ refusals }: ReplayPlan): void {
  const [first] = refusals;
  if (first !== undefined) {
    throw new KpipeError('KPIPE_REFUSED', refusals.map(({ text: reason }) => reason).join('\n'), {
      next: [...new Set(refusals.map(({ next }) => next))].join('; '),
    });
  }
}

function membersError({ group, members }: ReplayObservation): KpipeError {
  return new KpipeError('KPIPE_REFUSED', `group ${group} has ${members.length} members: ${members.join(', ')}`, {
    next: 'stop the consumers of the role, or use --pause-role',
  });
}

function alreadyUnderWay({ entry: { id, by, at, group } }: JournalStory): KpipeError {
  return new KpipeError('KPIPE_REFUSED', `replay ${id} of group ${group} by ${by}, begun ${at}, has not ended`, {
    next: `wait for it; if its process is gone: \`kpipe replay apply --resume ${id}\` or \`kpipe replay undo ${id}\``,
  });
}

function halfDone(code: ErrorCode, entry: JournalEntry, error: unknown, what: string): KpipeError {
  return new KpipeError(code, `replay ${entry.id} has stopped, ${what}: ${messageOf(error)}`, {
    where: error instanceof KpipeError ? error.where : {},
    next: `\`kpipe replay apply --resume ${entry.id}\` finishes it, \`kpipe replay undo ${entry.id}\` takes it back`,
    cause: error,
  });
}

/** Every step is written down before the next is begun. */
async function write({ journal }: ReplayEdges, entry: JournalEntry): Promise<void> {
  await journal.append(entry.id, formatEntry(entry));
}

async function withdraw(edges: ReplayEdges, entry: JournalEntry, reason: string): Promise<void> {
  await write(edges, { ...entry, state: 'withdrawn', reason });
}

/** @throws KPIPE_KAFKA_… */
export async function stories({ journal }: Pick<ReplayEdges, 'journal'>): Promise<readonly JournalStory[]> {
  return readStories(await journal.read());
}

function moveRequest({ role, topic, topicId, moves }: JournalEntry) {
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

function emptyResult(of: Pick<ReplayPlan, 'role' | 'group' | 'topic'>): ReplayResult {
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
