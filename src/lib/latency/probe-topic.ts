import { randomBytes } from 'node:crypto';

import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import { typeMatcher } from '../records/projection.ts';
import { probeType } from './probe-record.ts';

/** Where probes go. */
export interface ProbeTopic {
  readonly topic: string;
  readonly clusterId: string;
  /** Takes away what was made for the probes. */
  readonly leave: () => Promise<void>;
}

const mostReplicas = 3;
const hourMs = 3_600_000;

/** A topic of this run's own: a partition a broker, deleted afterwards; after a kill its records expire in an hour. */
export async function ownTopic(admin: ClusterAdmin): Promise<ProbeTopic> {
  const { clusterId, brokers } = await admin.describeCluster();
  const topic = `kpipe.latency.${randomBytes(4).toString('hex')}`;
  await admin.createTopic({
    name: topic,
    partitions: brokers.length,
    replicationFactor: Math.min(mostReplicas, brokers.length),
    config: { 'retention.ms': String(hourMs) },
  });
  return { topic, clusterId, leave: () => admin.deleteTopic(topic) };
}

/**
 * The topic of role events, if a probe does no harm there and somebody stores it.
 * @throws KPIPE_CONFIG_INVALID without the role; KPIPE_REFUSED where a probe would reach more than kpipe.events, or nobody runs
 */
export async function eventsTopic(config: Config, admin: ClusterAdmin): Promise<ProbeTopic> {
  const { events, logs, analytics } = config.roles;
  if (events === undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} declares no role events`, {
      next: 'leave --role out to probe on a topic of its own',
    });
  }
  const projecting = events.projections.find(({ match }) => typeMatcher([match.type])(probeType));
  if (projecting !== undefined) {
    throw refused(
      `the projection to ${projecting.table} would take probes for events of yours`,
      'match narrower types than *',
    );
  }
  const sharing = [logs, analytics].find((role) => role?.topic === events.topic);
  if (sharing !== undefined) {
    throw refused(`group ${sharing.group} reads ${events.topic} too and would store probes`, 'leave --role out');
  }
  const { members } = await admin.describeGroup(events.group);
  if (members.length === 0) {
    throw refused('role events does not run: nobody would store a probe', 'kpipe consume events, in another terminal');
  }
  const { clusterId } = await admin.describeCluster();
  return { topic: events.topic, clusterId, leave: () => Promise.resolve() };
}

function refused(message: string, next: string): KpipeError {
  return new KpipeError('KPIPE_REFUSED', message, { next });
}
