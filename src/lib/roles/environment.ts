import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin, GroupAdmin, TopicPartition } from '../ports.ts';
import type { BatchLimits } from '../runtime/batch.ts';
import { logOffset } from '../runtime/claims.ts';

/** What every role is opened with. */
export interface RoleEnvironment {
  readonly config: Config;
  readonly admin: GroupAdmin;
  /** Kafka's id of the role's topic. */
  readonly topicId: string;
  /** Batches written at once; the pool has one connection more. */
  readonly concurrency: number;
  readonly acceptRecreated: boolean;
  /** Told what a role notices beside its work, a line each. */
  readonly notice: (text: string) => void;
  readonly now: () => number;
  readonly random: () => number;
}

/** `kpipe:events:4711`, as pg_stat_activity shows it. */
export function applicationName(role: string): string {
  return `kpipe:${role}:${process.pid}`;
}

/** Where a partition begins that the role has never read. */
export function startPosition(
  admin: ClusterAdmin,
  start: 'earliest' | 'latest',
): (partition: TopicPartition) => Promise<bigint> {
  return (partition) => logOffset(admin, partition, start);
}

export function batchLimits(batch: {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly maxWait: number;
}): BatchLimits {
  return { maxRows: batch.maxRows, maxBytes: batch.maxBytes, maxWaitMs: batch.maxWait };
}

/** A section of kpipe.yaml that a role cannot do without. */
export function required<Section>(section: Section | undefined, name: string, role: string): Section {
  if (section === undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `role ${role} needs ${name} in kpipe.yaml`, {
      next: '`kpipe init` shows a whole file with comments',
    });
  }
  return section;
}
