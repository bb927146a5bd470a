import type { Config } from '../config/load.ts';
import { readCopies } from '../copy/copy-entry.ts';
import { roleNames } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { applyReplay, resumeReplay, withdrawReplay } from './apply.ts';
import { stories, type ReplayEdges, type ReplayResult } from './carry-out.ts';
import { replayEffects } from './effects.ts';
import { tellHistory, type ReplayHistory } from './history.ts';
import { isOpen, readStories, storyOf } from './journal.ts';
import type { ReplayObservation } from './observation.ts';
import { observeReplay, type ReplayRole } from './observe.ts';
import { whilePaused, type PauseOptions } from './pause.ts';
import { planReplay } from './plan.ts';
import type { ReplayPlan } from './replay-plan.ts';
import { choosePartitions, resolveTarget, type PartitionChoice } from './resolve.ts';
import { replayRole, withReplayEdges } from './session.ts';
import { parseTarget } from './target.ts';
import { chooseUndo, planUndo } from './undo.ts';

/** What the operator asks for. */
export interface ReplayRequest extends PartitionChoice {
  /** `--to`, as it was typed. */
  readonly to: string;
  readonly clamp: boolean;
}

/** How a command lets its operator decide. */
export interface Consent {
  /** Shows the plan and asks; rejects when the answer is no. Not called when there is nothing to do. */
  readonly confirm: (plan: ReplayPlan) => Promise<void>;
  /** Of an entry that has set nothing: there is no plan to show. */
  readonly confirmWithdrawal: (id: string) => Promise<void>;
  /** null: members are a reason to refuse. */
  readonly pause: PauseOptions | null;
}

/** Plans, joins nothing and changes nothing. @throws KPIPE_USAGE, KPIPE_INPUT_INVALID, KPIPE_KAFKA_…, KPIPE_POSTGRES_… */
export async function planRole(config: Config, roleName: string, request: ReplayRequest): Promise<ReplayPlan> {
  const role = replayRole(config, roleName);
  return withReplayEdges(config, role, async (edges) => draw(config, role, request, edges));
}

async function draw(config: Config, role: ReplayRole, request: ReplayRequest, edges: ReplayEdges): Promise<ReplayPlan> {
  const target = parseTarget(request.to, edges.now());
  const seen = await observeReplay(role, edges);
  const chosen = choosePartitions(seen, request);
  const targets = await resolveTarget(edges.admin, target, chosen);
  const to = target.kind === 'time' ? `@${new Date(target.timestampMs).toISOString()}` : request.to;
  const plan = planReplay(seen, targets, { to, clamp: request.clamp });
  const effects = await replayEffects(config, plan);
  const unknown =
    effects.rowsThereReason === null ? plan.unknown : { ...plan.unknown, rowsThere: effects.rowsThereReason };
  return { ...plan, effects: effects.lines, rowsThere: effects.rowsThere, unknown };
}

/** Plans, asks, acts. @throws KPIPE_REFUSED, KPIPE_PLAN_STALE, KPIPE_DECLINED: nothing was changed; KPIPE_PARTLY_DONE */
export async function applyRole(
  config: Config,
  roleName: string,
  request: ReplayRequest,
  consent: Consent,
): Promise<ReplayResult> {
  const role = replayRole(config, roleName);
  return withReplayEdges(config, role, async (edges) => {
    const plan = await draw(config, role, request, edges);
    return act(role, plan, null, consent, edges, (seen) => planAgain(plan, seen, request.clamp));
  });
}

/** Goes on with a replay that was interrupted. @throws KPIPE_USAGE when there is none of that id, or it is done */
export async function resumeById(config: Config, id: string): Promise<ReplayResult> {
  const { role } = await roleOfEntry(config, id);
  return withReplayEdges(config, role, async (edges) => resumeReplay(role, storyOf(await stories(edges), id), edges));
}

/** Takes a replay back. @throws KPIPE_USAGE, KPIPE_REFUSED, KPIPE_DECLINED */
export async function undoById(
  config: Config,
  id: string | undefined,
  clamp: boolean,
  consent: Consent,
): Promise<ReplayResult> {
  const chosen = await roleOfEntry(config, id);
  const { role } = chosen;
  return withReplayEdges(config, role, async (edges) => {
    const story = chooseUndo(await stories(edges), chosen.id, declaredRoles(config));
    const undo = planUndo(story, await observeReplay(role, edges), clamp);
    if (undo.kind === 'withdraw') {
      await consent.confirmWithdrawal(story.entry.id);
      return withdrawReplay(story, edges);
    }
    const again = (seen: ReplayObservation): ReplayPlan => {
      const renewed = planUndo(story, seen, clamp);
      return renewed.kind === 'positions' ? renewed.plan : undo.plan;
    };
    return act(role, undo.plan, story.entry.id, consent, edges, again);
  });
}

/** @throws KPIPE_KAFKA_… */
export async function readHistory(config: Config, roleName: string | undefined): Promise<ReplayHistory> {
  const names = roleName === undefined ? declaredRoles(config) : [replayRole(config, roleName).role];
  const records = await withReplayEdges(config, { positionsIn: 'group' }, ({ journal }) => journal.read());
  const ours = readStories(records).filter(
    ({ entry }) => names.includes(entry.role) && isOfRole(config, entry.role, entry.group),
  );
  const open = new Set(ours.filter(isOpen).map(({ entry }) => entry.role));
  const seen = await Promise.all(
    [...open].map(async (name) => {
      const role = replayRole(config, name);
      // A store that is away is no reason not to tell the rest.
      const looked = await withReplayEdges(config, role, (edges) => observeReplay(role, edges)).catch(() => null);
      return [name, looked] as const;
    }),
  );
  return tellHistory(ours, new Map(seen), roleName === undefined ? readCopies(records) : []);
}

function isOfRole({ roles }: Config, role: string, group: string): boolean {
  return roleNames.some((name) => name === role && roles[name]?.group === group);
}

function declaredRoles({ roles }: Config): readonly string[] {
  return roleNames.filter((name) => roles[name] !== undefined);
}

async function roleOfEntry(
  config: Config,
  id: string | undefined,
): Promise<{ readonly id: string; readonly role: ReplayRole }> {
  return withReplayEdges(config, { positionsIn: 'group' }, async (edges) => {
    const all = (await stories(edges)).filter(({ entry }) => isOfRole(config, entry.role, entry.group));
    const { entry } = id === undefined ? chooseUndo(all, undefined, declaredRoles(config)) : storyOf(all, id);
    return { id: entry.id, role: replayRole(config, entry.role) };
  });
}

async function act(
  role: ReplayRole,
  plan: ReplayPlan,
  undoes: string | null,
  consent: Consent,
  edges: ReplayEdges,
  again: (seen: ReplayObservation) => ReplayPlan,
): Promise<ReplayResult> {
  const moves = plan.partitions.some(({ change }) => change !== 'stay');
  const { pause } = consent;
  const refused = plan.refusals.filter(({ kind }) => kind !== 'members' || pause === null);
  if (!moves || refused.length > 0 || pause === null) {
    if (moves && refused.length === 0) {
      await consent.confirm(plan);
    }
    return applyReplay(role, plan, { undoes }, edges);
  }
  await consent.confirm({ ...plan, refusals: refused });
  return whilePaused(edges.admin, role, pause, async () =>
    applyReplay(role, again(await observeReplay(role, edges)), { undoes }, edges),
  );
}

/** The consumers have moved on while they stepped aside; what was confirmed are the targets. */
function planAgain(plan: ReplayPlan, seen: ReplayObservation, clamp: boolean): ReplayPlan {
  if (seen.topicId !== plan.topicId) {
    throw new KpipeError('KPIPE_PLAN_STALE', `topic ${plan.topic} was deleted and created again meanwhile`);
  }
  const targets = new Map(plan.partitions.map(({ partition, targetOffset }) => [partition, { offset: targetOffset }]));
  return { ...planReplay(seen, targets, { to: plan.to, clamp }), effects: plan.effects, rowsThere: plan.rowsThere };
}
