import { partitionKey } from '../ports.ts';
import type { ClusterObservation, PartitionState } from './cluster-observation.ts';

/** What is the case with one partition, each by Kafka's own definition. */
export interface PartitionFact extends PartitionState {
  readonly topic: string;
  /** It has no leader: nobody reads or writes it. */
  readonly offline: boolean;
  /** Fewer replicas in sync than `min.insync.replicas`: writes with acks=all are refused. */
  readonly underMinIsr: boolean;
  /** As many in sync as must be, and fewer than there are. */
  readonly atMinIsr: boolean;
  readonly underReplicated: boolean;
  /** Another replica leads, although the first one is in sync. */
  readonly notPreferred: boolean;
  /** Brokers that left the ISR since the look before. */
  readonly left: readonly number[];
}

export function partitionFacts(
  { topics }: ClusterObservation,
  before: ClusterObservation | null,
): readonly PartitionFact[] {
  const isrBefore = new Map(
    (before?.topics ?? []).flatMap(({ name, partitions }) =>
      partitions.map(({ partition, isr }) => [partitionKey({ topic: name, partition }), isr] as const),
    ),
  );
  return topics.flatMap(({ name, minInsyncReplicas, partitions }) =>
    partitions.map((state): PartitionFact => {
      const { leader, replicas, isr, partition } = state;
      const [preferred] = replicas;
      const offline = leader < 0;
      const isBelow = minInsyncReplicas !== null && isr.length < minInsyncReplicas;
      return {
        ...state,
        topic: name,
        offline,
        underMinIsr: !offline && isBelow,
        atMinIsr: !offline && isr.length === minInsyncReplicas && isr.length < replicas.length,
        underReplicated: isr.length < replicas.length,
        notPreferred: !offline && preferred !== undefined && leader !== preferred && isr.includes(preferred),
        left: (isrBefore.get(partitionKey({ topic: name, partition })) ?? []).filter(
          (id) => replicas.includes(id) && !isr.includes(id),
        ),
      };
    }),
  );
}
