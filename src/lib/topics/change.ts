import { z } from 'zod';

/**
 * One step of a plan: data that is printed, saved, checked and executed. The schema is for plans that come back from a
 * file.
 */
const common = {
  topic: z.string(),
  reason: z.string(),
  risk: z.enum(['none', 'low', 'high']),
  warnings: z.array(z.string()),
} as const;

const createChange = z.strictObject({
  ...common,
  kind: z.literal('create'),
  key: z.null(),
  from: z.null(),
  to: z.strictObject({
    partitions: z.int().min(1),
    replicationFactor: z.int().min(1),
    config: z.record(z.string(), z.string()),
  }),
});

/** `from` null: the topic has no value of its own. */
const configChange = z.strictObject({
  ...common,
  kind: z.literal('config'),
  key: z.string(),
  from: z.string().nullable(),
  to: z.string(),
});

const partitionsChange = z.strictObject({
  ...common,
  kind: z.literal('partitions'),
  key: z.literal('partitions'),
  from: z.int(),
  to: z.int(),
});

const replicationChange = z.strictObject({
  ...common,
  kind: z.literal('replication'),
  key: z.literal('replicationFactor'),
  from: z.int(),
  to: z.int(),
  /** Where the replicas go: anywhere, or spread over the racks. */
  placement: z.enum(['any', 'racks']),
});

/** `from`: how many partitions are spread worse than the racks allow. */
const placementChange = z.strictObject({
  ...common,
  kind: z.literal('placement'),
  key: z.literal('placement'),
  from: z.int(),
  to: z.literal('racks'),
});

/** Of a topic that was named to be deleted: this one and no other of its name. */
const deleteChange = z.strictObject({
  ...common,
  kind: z.literal('delete'),
  key: z.null(),
  from: z.strictObject({ id: z.string(), partitions: z.int(), replicationFactor: z.int() }),
  to: z.null(),
});

const change = z.discriminatedUnion('kind', [
  createChange,
  configChange,
  partitionsChange,
  replicationChange,
  placementChange,
  deleteChange,
]);

/** The JSON document of `kpipe topics plan`, and the file that `--out` writes. */
export const topicPlanSchema = z.strictObject({
  clusterId: z.string(),
  observedAt: z.string(),
  /** Of everything that the plan was made from; `apply` refuses when it has changed since. */
  stateHash: z.string(),
  changes: z.array(change),
  inSync: z.array(z.strictObject({ topic: z.string(), keptKeys: z.array(z.string()) })),
  unmanaged: z.array(z.string()),
});

type Plan = z.output<typeof topicPlanSchema>;
export type Change = Readonly<Plan['changes'][number]>;
export interface InSyncTopic {
  readonly topic: string;
  /** Keys that the topic has and kpipe.yaml does not name: they stay. */
  readonly keptKeys: readonly string[];
}
export interface TopicPlan {
  readonly clusterId: string;
  /** ISO 8601, UTC. */
  readonly observedAt: string;
  readonly stateHash: string;
  readonly changes: readonly Change[];
  readonly inSync: readonly InSyncTopic[];
  readonly unmanaged: readonly string[];
}
