import { stringify } from 'yaml';

import { liveTopics } from '../init/live-topics.ts';
import type { TopicEntry } from '../init/template.ts';
import type { ClusterAdmin } from '../ports.ts';

/** The JSON document of `kpipe topics import`. */
export interface ImportedTopics {
  readonly clusterId: string;
  readonly topics: Readonly<Record<string, TopicEntry>>;
  /** A kpipe.yaml, or its `topics:` section. */
  readonly yaml: string;
}

export interface ImportRequest {
  readonly nowMs: number;
  /** For a whole file; null: only the section. */
  readonly file: { readonly pipeline: string; readonly brokers: readonly string[] } | null;
  /** kpipe's own topic, which nobody declares. */
  readonly journal: string;
}

/** The live cluster's topics as kpipe.yaml declares them, so that a plan finds nothing to change. */
export async function importTopics(admin: ClusterAdmin, request: ImportRequest): Promise<ImportedTopics> {
  const [{ clusterId }, found] = await Promise.all([admin.describeCluster(), liveTopics(admin, request.nowMs)]);
  const topics = Object.fromEntries(
    Object.entries(found).filter(([name]) => name !== request.journal && !name.startsWith('__')),
  );
  const { file } = request;
  const head = file === null ? {} : { pipeline: file.pipeline, kafka: { brokers: [...file.brokers] } };
  return { clusterId, topics, yaml: stringify({ ...head, topics }, { lineWidth: 120 }) };
}
