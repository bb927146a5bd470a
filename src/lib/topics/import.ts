import { resolve } from 'node:path';

import { stringify } from 'yaml';

import type { KafkaConfig } from '../config/load.ts';
import { liveTopics } from '../init/live-topics.ts';
import type { TopicEntry } from '../init/template.ts';
import type { ClusterAdmin } from '../ports.ts';

/** The JSON document of `kpipe topics import`. */
export interface ImportedTopics {
  readonly clusterId: string;
  readonly topics: Readonly<Record<string, TopicEntry>>;
  /** A kpipe.yaml. */
  readonly yaml: string;
}

export interface ImportRequest {
  readonly nowMs: number;
  readonly pipeline: string;
  /** Of the cluster that is looked at: how to reach it is written down, but no secret. */
  readonly kafka: Pick<KafkaConfig, 'brokers' | 'directory' | 'tls' | 'sasl'>;
  /** kpipe's own topic, which nobody declares. */
  readonly journal: string;
}

/** The live cluster's topics as kpipe.yaml declares them, so that a plan finds nothing to change. */
export async function importTopics(admin: ClusterAdmin, request: ImportRequest): Promise<ImportedTopics> {
  const [{ clusterId }, found] = await Promise.all([admin.describeCluster(), liveTopics(admin, request.nowMs)]);
  const topics = Object.fromEntries(
    Object.entries(found).filter(([name]) => name !== request.journal && !name.startsWith('__')),
  );
  const file = { pipeline: request.pipeline, kafka: connectionOf(request.kafka), topics };
  return { clusterId, topics, yaml: stringify(file, { lineWidth: 120 }) };
}

function connectionOf({ brokers, directory, tls, sasl }: ImportRequest['kafka']): Readonly<Record<string, unknown>> {
  return {
    brokers,
    tls:
      tls &&
      Object.fromEntries(
        Object.entries(tls).map(([key, value]) => [key, typeof value === 'string' ? resolve(directory, value) : value]),
      ),
    sasl:
      sasl === undefined || 'token' in sasl
        ? sasl && { ...sasl, token: sasl.token.reference ?? '${env:KAFKA_TOKEN}' }
        : { ...sasl, password: sasl.password.reference ?? '${env:KAFKA_PASSWORD}' },
  };
}
