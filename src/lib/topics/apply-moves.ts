import { KpipeError } from '../errors.ts';
import type { ReplicaAdmin } from '../ports.ts';
import { moveReplicas, type MoveOptions } from './move/carry-out.ts';
import { replicationFactor } from './observe.ts';
import type { MoveChange, StepContext } from './steps.ts';

/** Lets `applyPlan` carry out changes of replication and placement, as `kpipe topics move` would. */
export function moverFor(admin: ReplicaAdmin, options: MoveOptions): NonNullable<StepContext['move']> {
  return async (change) => {
    const wanted = [await wantedBy(admin, change)];
    const result = await moveReplicas(admin, { wanted, brokers: [] }, options);
    if (result.notMoved.length > 0 || result.throttlesLeft.length > 0) {
      const left = result.throttlesLeft.map((each) => `; throttle left: ${each}`).join('');
      const why = result.problem === null ? '' : `: ${result.problem.message}`;
      throw new KpipeError(
        options.signal.aborted ? 'KPIPE_INTERRUPTED' : 'KPIPE_INCOMPLETE',
        `${result.moved.length} partitions are moved, ${result.notMoved.length} not${why}${left}`,
        { where: { topic: change.topic }, next: `kpipe topics move ${change.topic} goes on` },
      );
    }
  };
}

async function wantedBy(
  admin: ReplicaAdmin,
  change: MoveChange,
): Promise<{ topic: string; replicationFactor: number; spreadRacks: boolean }> {
  if (change.kind === 'replication') {
    return { topic: change.topic, replicationFactor: change.to, spreadRacks: change.placement === 'racks' };
  }
  const [found] = await admin.describeTopics([change.topic]);
  return {
    topic: change.topic,
    replicationFactor: found === undefined ? 0 : replicationFactor(found),
    spreadRacks: true,
  };
}
