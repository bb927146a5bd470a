import type { ClusterAdmin } from '../ports.ts';
import type { Change } from './change.ts';

export interface StepContext {
  readonly admin: ClusterAdmin;
  /** The cluster checks, and does nothing. Moves and deletions cannot be checked that way. */
  readonly validateOnly: boolean;
  /** Moves a topic's replicas until they are as the change says; absent where that is not offered. */
  readonly move?: ((change: MoveChange) => Promise<void>) | undefined;
}

export type MoveChange = Extract<Change, { kind: 'replication' | 'placement' }>;

/** What is done to the cluster in one go: one change, or all keys of a topic, which change together or not at all. */
export interface Step {
  readonly changes: readonly Change[];
  run(context: StepContext): Promise<void>;
}

/**
 * What carries the changes out, in an order that is safe to stop at any point: topics first; more replicas before the keys
 * that need them (min.insync.replicas), fewer replicas after the keys that allow them; deletions last.
 */
export function stepsOf(changes: readonly Change[]): readonly Step[] {
  const configs = Map.groupBy(
    changes.filter((change) => change.kind === 'config'),
    ({ topic }) => topic,
  );
  const moves = changes.filter((change) => change.kind === 'replication' || change.kind === 'placement');
  const lowers = (change: MoveChange): boolean => change.kind === 'replication' && change.to < change.from;
  return [
    ...changes.filter((change) => change.kind === 'create').map(createStep),
    ...moves.filter((change) => !lowers(change)).map(moveStep),
    ...[...configs].map(([topic, ofTopic]) => ({
      changes: ofTopic,
      run: ({ admin, validateOnly }: StepContext) =>
        admin.alterConfigs(
          { topic, set: Object.fromEntries(ofTopic.map(({ key, to }) => [key, to])) },
          { validateOnly },
        ),
    })),
    ...changes.filter((change) => change.kind === 'partitions').map(partitionStep),
    ...moves.filter(lowers).map(moveStep),
    ...changes.filter((change) => change.kind === 'delete').map(deleteStep),
  ];
}

function createStep(change: Extract<Change, { kind: 'create' }>): Step {
  return {
    changes: [change],
    run: ({ admin, validateOnly }) => admin.createTopic({ name: change.topic, ...change.to }, { validateOnly }),
  };
}

function partitionStep(change: Extract<Change, { kind: 'partitions' }>): Step {
  return {
    changes: [change],
    run: ({ admin, validateOnly }) => admin.createPartitions(change.topic, change.to, { validateOnly }),
  };
}

function moveStep(change: MoveChange): Step {
  return {
    changes: [change],
    run: async ({ validateOnly, move }) => {
      if (!validateOnly) {
        await move?.(change);
      }
    },
  };
}

function deleteStep(change: Extract<Change, { kind: 'delete' }>): Step {
  return {
    changes: [change],
    run: async ({ admin, validateOnly }) => {
      if (!validateOnly) {
        await admin.deleteTopic(change.topic);
      }
    },
  };
}
