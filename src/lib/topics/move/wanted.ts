import type { Config } from '../../config/load.ts';
import { nearestName } from '../../config/nearest.ts';
import { KpipeError } from '../../errors.ts';
import type { ReplicaAdmin } from '../../ports.ts';
import { replicationFactor } from '../observe.ts';
import { badlySpread } from '../placement.ts';
import { topicSpecs } from '../spec.ts';
import type { WantedReplicas } from './move-plan.ts';

/** What the command line asks for. */
export interface AskedReplicas {
  /** Empty: every declared topic that is not as declared. */
  readonly topics: readonly string[];
  readonly replicationFactor: number | undefined;
  readonly spreadRacks: boolean | undefined;
  /** Empty: all. */
  readonly brokers: readonly number[];
}

/**
 * How the topics' replicas should be: as asked, else as kpipe.yaml declares them, else as they are.
 * @throws KPIPE_USAGE, KPIPE_TOPIC_MISSING
 */
export async function wantedReplicas(
  admin: ReplicaAdmin,
  config: Pick<Config, 'topics' | 'roles'>,
  asked: AskedReplicas,
): Promise<readonly WantedReplicas[]> {
  const specs = topicSpecs(config);
  const names = asked.topics.length > 0 ? [...new Set(asked.topics)] : specs.map(({ name }) => name);
  const asksMore = asked.replicationFactor !== undefined || asked.spreadRacks !== undefined || asked.brokers.length > 0;
  if (asked.topics.length === 0 && asksMore) {
    throw new KpipeError(
      'KPIPE_USAGE',
      '--replication-factor, --racks and --brokers need the topics that they are for',
      {
        next: 'name the topics, or declare it in kpipe.yaml',
      },
    );
  }
  const [described, cluster] = await Promise.all([admin.describeTopics(names), admin.describeCluster()]);
  return names.flatMap((topic) => {
    const found = described.find(({ name }) => name === topic);
    const spec = specs.find(({ name }) => name === topic);
    if (found === undefined) {
      if (asked.topics.length === 0) {
        return [];
      }
      const nearest = nearestName(
        topic,
        specs.map(({ name }) => name),
      );
      const hint = nearest === undefined ? '' : `: did you mean ${nearest}?`;
      throw new KpipeError('KPIPE_TOPIC_MISSING', `there is no topic ${topic}${hint}`, {
        next: '`kpipe topics list` shows what exists',
      });
    }
    const replicas = asked.replicationFactor ?? spec?.replicationFactor ?? replicationFactor(found);
    const spreadRacks = asked.spreadRacks ?? spec?.placement === 'racks';
    // A partition that is under way has more replicas than it will keep.
    const counts = found.partitions.every((partition) => partition.replicas.length === replicas);
    const spread =
      badlySpread(
        found.partitions.map((partition) => partition.replicas),
        cluster.brokers,
      ) === 0;
    const isAsDeclared = counts && (!spreadRacks || spread);
    return asked.topics.length === 0 && isAsDeclared ? [] : [{ topic, replicationFactor: replicas, spreadRacks }];
  });
}

/** `1,2,4` as numbers. @throws KPIPE_USAGE */
export function brokerIds(text: string | undefined): readonly number[] {
  const ids = text === undefined ? [] : text.split(',').map((each) => each.trim());
  const wrong = ids.find((id) => !/^\d+$/.test(id));
  if (wrong !== undefined) {
    throw new KpipeError('KPIPE_USAGE', `--brokers: ${wrong} is not a broker's number`, {
      next: 'write --brokers 1,2,4',
    });
  }
  return ids.map(Number);
}
