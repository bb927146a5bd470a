import { KpipeError } from '../errors.ts';
import {
  carryOut,
  emptyResult,
  moveRequest,
  stories,
  withdraw,
  write,
  type ReplayEdges,
  type ReplayResult,
} from './carry-out.ts';
import { inTheWay, isOpen, type JournalEntry, type JournalStory } from './journal.ts';
import type { ReplayObservation } from './observation.ts';
import { observeReplay, type ReplayRole } from './observe.ts';
import type { ReplayPlan } from './replay-plan.ts';
import { truthOf } from './truth.ts';

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
