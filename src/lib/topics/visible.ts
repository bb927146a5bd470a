import { setTimeout as pause } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Change } from './change.ts';
import { sameConfigValue } from './config-keys.ts';
import { observeTopics, type TopicsState } from './observe.ts';
import { badlySpread } from './placement.ts';

export interface SeenWithin {
  readonly nowMs: number;
  /** For each broker. */
  readonly withinMs: number;
}

/**
 * The controller answers before the brokers know, and they hear of it one after the other: waits until each that answers
 * shows the changes, so that whatever looks next finds them. Answers those that stay away; all of them when the cluster
 * cannot be looked at any more. What was done was done.
 */
export async function unseenChanges(
  admin: ClusterAdmin,
  changes: readonly Change[],
  { nowMs, withinMs }: SeenWithin,
): Promise<readonly Change[]> {
  if (changes.length === 0) {
    return [];
  }
  const names = [...new Set(changes.map(({ topic }) => topic))];
  const look = async (broker: ClusterAdmin, open: readonly Change[]): Promise<readonly Change[]> => {
    const state = await observeTopics(broker, names, nowMs, 'named');
    return open.filter((change) => !isVisible(change, state));
  };
  const left = await unseenByBroker(admin, changes, look, withinMs).catch(() => [changes]);
  return changes.filter((change) => left.some((open) => open.includes(change)));
}

/**
 * Has each broker looked at until nothing is left of the items. One that does not answer is left out; a look that fails
 * otherwise is made again: a topic that is being deleted cannot be looked at for a moment.
 * @param look what of the open items the broker does not show
 * @returns what was left when the time was over, of each broker that answers. @throws KPIPE_KAFKA_UNREACHABLE when none does
 */
export async function unseenByBroker<Item>(
  admin: ClusterAdmin,
  items: readonly Item[],
  look: (broker: ClusterAdmin, open: readonly Item[]) => Promise<readonly Item[]>,
  withinMs: number,
): Promise<readonly (readonly Item[])[]> {
  const until = performance.now() + withinMs;
  const leftOn = async (broker: ClusterAdmin): Promise<readonly Item[]> => {
    for (let open = items; ;) {
      open = (await look(broker, open).catch(asNotYet)) ?? open;
      if (open.length === 0 || performance.now() > until) {
        return open;
      }
      await pause(100);
    }
  };
  const left = await admin.onEachBroker(leftOn);
  // Behind some proxies no broker can be asked alone.
  return left.length > 0 ? left : [await leftOn(admin)];
}

function asNotYet(error: unknown): null {
  if (error instanceof KpipeError && error.code === 'KPIPE_KAFKA_UNREACHABLE') {
    throw error;
  }
  return null;
}

function isVisible(change: Change, state: TopicsState): boolean {
  const topic = state.topics.get(change.topic);
  switch (change.kind) {
    case 'create':
      return topic?.partitions === change.to.partitions;
    case 'config':
      return sameConfigValue(topic?.overrides[change.key] ?? '', change.to);
    case 'partitions':
      return (topic?.partitions ?? 0) >= change.to;
    case 'replication':
      return topic?.replicationFactor === change.to;
    case 'placement':
      return topic !== undefined && badlySpread(topic.replicas, state.brokers) === 0;
    case 'delete':
      return topic === undefined || topic.id !== change.from.id;
  }
}
