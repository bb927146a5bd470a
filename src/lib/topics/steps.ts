import type { ClusterAdmin } from '../ports.ts';
import type { Change } from './change.ts';

/** What is done to the cluster in one request: one change, or all keys of a topic, which change together or not at all. */
export interface Step {
  readonly changes: readonly Change[];
  run(admin: ClusterAdmin, options: { readonly validateOnly: boolean }): Promise<void>;
}

/** The requests that carry the changes out: topics first, then keys, then partitions. Moving replicas is not among them. */
export function stepsOf(changes: readonly Change[]): readonly Step[] {
  const configs = Map.groupBy(
    changes.filter((change) => change.kind === 'config'),
    ({ topic }) => topic,
  );
  return [
    ...changes.filter((change) => change.kind === 'create').map(createStep),
    ...[...configs].map(([topic, ofTopic]) => ({
      changes: ofTopic,
      run: (admin: ClusterAdmin, options: { readonly validateOnly: boolean }) =>
        admin.alterConfigs({ topic, set: Object.fromEntries(ofTopic.map(({ key, to }) => [key, to])) }, options),
    })),
    ...changes.filter((change) => change.kind === 'partitions').map(partitionStep),
  ];
}

function createStep(change: Extract<Change, { kind: 'create' }>): Step {
  return {
    changes: [change],
    run: (admin, options) => admin.createTopic({ name: change.topic, ...change.to }, options),
  };
}

function partitionStep(change: Extract<Change, { kind: 'partitions' }>): Step {
  return { changes: [change], run: (admin, options) => admin.createPartitions(change.topic, change.to, options) };
}
