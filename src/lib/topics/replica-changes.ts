import type { Change } from './change.ts';
import { throttledReplicaKeys } from './move/throttle.ts';
import type { ObservedTopic, TopicsState } from './observe.ts';
import { badlySpread } from './placement.ts';
import { formatGibi } from './risks.ts';
import type { TopicSpec } from './spec.ts';

/** Another number of replicas, or other racks for them; the same move does both. */
export function replicaChanges(spec: TopicSpec, topic: ObservedTopic, state: TopicsState): readonly Change[] {
  const { replicationFactor: from } = topic;
  const to = spec.replicationFactor;
  if (from !== to) {
    const change = {
      kind: 'replication',
      key: 'replicationFactor',
      from,
      to,
      placement: spec.placement ?? 'any',
    } as const;
    return [{ topic: spec.name, ...change, reason: 'declared', ...replicationRisk(spec.name, { from, to }, state) }];
  }
  if (isSlowed(topic)) {
    const change = {
      kind: 'replication',
      key: 'replicationFactor',
      from,
      to,
      placement: spec.placement ?? 'any',
    } as const;
    const warnings = ['apply waits for it and takes its throttle away'];
    return [{ topic: spec.name, ...change, reason: 'a move was not ended', risk: 'low', warnings }];
  }
  const badly = spec.placement === 'racks' ? badlySpread(topic.replicas, state.brokers) : 0;
  if (badly === 0) {
    return [];
  }
  const change = { kind: 'placement', key: 'placement', from: badly, to: 'racks' } as const;
  const warnings = ['replicas are copied between brokers: throttled, see kpipe topics move'];
  return [{ topic: spec.name, ...change, reason: 'declared', risk: 'low', warnings }];
}

/** Whether a move has left its lists: they are taken away at its end, so it was killed, or is still under way. */
function isSlowed({ overrides }: ObservedTopic): boolean {
  return Object.values(throttledReplicaKeys).some((key) => {
    const value = overrides[key] ?? '';
    return value !== '' && value !== '*';
  });
}

function replicationRisk(
  name: string,
  { from, to }: { readonly from: number; readonly to: number },
  state: TopicsState,
): Pick<Change, 'risk' | 'warnings'> {
  if (to < from) {
    const brokers = `${to - 1} ${to === 2 ? 'broker' : 'brokers'}`;
    return { risk: 'high', warnings: [`fewer copies: the data survives the loss of ${brokers}, not of ${from - 1}`] };
  }
  const bytes = state.evidence.get(name)?.bytes;
  const total = [...(bytes?.values() ?? [])].reduce((sum, size) => sum + size, 0n) * BigInt(to - from);
  const size = bytes === undefined ? 'replicas' : `about ${formatGibi(total)}`;
  return { risk: 'low', warnings: [`copies ${size} between brokers: throttled, see kpipe topics move`] };
}
