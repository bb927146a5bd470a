import type { Config } from '../../config/load.ts';
import { openKafkaAdmin, type KafkaAdmin } from '../../kafka/admin.ts';
import { BatchSampler } from '../../kafka/batch-sample.ts';
import { ClusterObserver } from '../../kafka/cluster-observer.ts';
import type { PositionReader } from '../../ports.ts';
import { createPositionReader } from '../../postgres/positions.ts';
import type { TopicSpec } from '../spec.ts';

const observerDeadlineMs = 5000;

/** What `kpipe topics tune` looks through. */
export interface TuneSources {
  readonly config: Config;
  readonly admin: KafkaAdmin;
  readonly observer: ClusterObserver;
  readonly sampler: BatchSampler;
  /** null: kpipe.yaml has no PostgreSQL. */
  readonly positions: PositionReader | null;
}

/** Runs `work` with connections that are closed whatever happens. */
export async function withTuneSources<Result>(
  config: Config,
  work: (sources: TuneSources) => Promise<Result>,
): Promise<Result> {
  const admin = await openKafkaAdmin(config.kafka);
  const observer = await ClusterObserver.open(config.kafka, observerDeadlineMs, Date.now);
  const sampler = await BatchSampler.open(config.kafka);
  const positions = config.postgres === undefined ? null : createPositionReader(config.postgres);
  try {
    return await work({ config, admin, observer, sampler, positions });
  } finally {
    await Promise.all([admin.close(), observer.close(), sampler.close(), positions?.close()]);
  }
}

/** A role's group, and where its true positions are. */
export interface WatchedGroup {
  readonly role: TopicSpec['roles'][number];
  readonly group: string;
  readonly topic: string;
  readonly inPostgres: boolean;
}

export function groupsOf(
  config: Config,
  specs: readonly TopicSpec[],
  names: readonly string[],
): readonly WatchedGroup[] {
  return specs
    .filter(({ name }) => names.includes(name))
    .flatMap(({ name, roles }) =>
      roles.flatMap((role) => {
        const declared = config.roles[role];
        return declared === undefined
          ? []
          : [{ role, group: declared.group, topic: name, inPostgres: declared.sink === 'postgres' }];
      }),
    );
}
