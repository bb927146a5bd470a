import { KpipeError } from '../errors.ts';
import { truthOf } from './truth.ts';
import { isOpen, laterThan, newestUndoable, storyOf, type JournalMove, type JournalStory } from './journal.ts';
import type { PartitionSituation, ReplayObservation } from './observation.ts';
import { planReplay, type ResolvedTarget } from './plan.ts';
import type { ReplayPlan } from './replay-plan.ts';

/**
 * Takes a replay back: positions as they were before it. What was read again meanwhile is kept (it had no effect, or a
 * repairing one); what was left out is read after all.
 */
export type UndoPlan =
  /** It has set nothing: it is only ended. */
  { readonly kind: 'withdraw' } | { readonly kind: 'positions'; readonly plan: ReplayPlan };

/** The replay that is meant. @throws KPIPE_USAGE, KPIPE_REFUSED when a later one has to be undone first */
export function chooseUndo(
  stories: readonly JournalStory[],
  id: string | undefined,
  roles: readonly string[],
): JournalStory {
  const story = id === undefined ? newestUndoable(stories, roles) : storyOf(stories, id);
  if (story === undefined) {
    throw new KpipeError('KPIPE_USAGE', 'there is no replay to undo', { next: '`kpipe replay history` shows them' });
  }
  const { entry, state } = story;
  if (!roles.includes(entry.role)) {
    throw new KpipeError('KPIPE_USAGE', `replay ${entry.id} is of role ${entry.role}, which kpipe.yaml has not`);
  }
  if (entry.kind === 'undo' && !isOpen({ state })) {
    throw new KpipeError('KPIPE_USAGE', `${entry.id} is itself an undo, of ${entry.undoes ?? '?'}`, {
      next: '`kpipe replay` sets the positions anew',
    });
  }
  if (state === 'undone' || state === 'withdrawn') {
    throw new KpipeError('KPIPE_USAGE', `replay ${entry.id} is ${state} already`);
  }
  const later = laterThan(stories, story);
  if (later.length > 0) {
    const ids = later.map(({ entry: { id: laterId } }) => laterId);
    throw new KpipeError('KPIPE_REFUSED', `later replays have set these partitions again: ${ids.join(', ')}`, {
      next: `undo the newest first: kpipe replay undo ${ids.at(-1) ?? ''}`,
    });
  }
  return story;
}

/** What undoing it means now. */
export function planUndo({ entry }: JournalStory, seen: ReplayObservation, clamp: boolean): UndoPlan {
  if (truthOf(entry, seen) === 'not set') {
    return { kind: 'withdraw' };
  }
  const situations = new Map(seen.partitions.map((situation) => [situation.partition, situation]));
  const targets = new Map(
    entry.moves.flatMap((move) => {
      const situation = situations.get(move.partition);
      return situation === undefined ? [] : [[move.partition, targetOf(move, situation)] as const];
    }),
  );
  return { kind: 'positions', plan: planReplay(seen, targets, { to: `before ${entry.id}`, clamp }) };
}

function targetOf({ from, to }: JournalMove, { position }: PartitionSituation): ResolvedTarget {
  if (from === null) {
    return position === to
      ? { offset: null, note: 'never read before' }
      : { offset: position, note: 'never read before the replay, read since: left as it is' };
  }
  const wentBack = to !== null && to < from;
  return wentBack && position !== null && position >= from
    ? { offset: position, note: `has passed ${from} again: left as it is` }
    : { offset: from };
}
