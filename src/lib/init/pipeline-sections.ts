import type { RoleName } from '../config/schema.ts';

/** The pipeline's own topics and roles as kpipe.yaml has them, explained where they stand: in a new file, and in the sandbox's. */

export interface Replication {
  readonly replicationFactor: number;
  readonly minInsyncReplicas: number;
}

export function topicsSection({ replicationFactor, minInsyncReplicas }: Replication): string {
  return `topics:
  # partitions: a number, or what it follows from:
  #   {basis: consumers, consumers: 6}                              as many as will read at once
  #   {basis: throughput, target: 40MB/s, perPartition: 10MB/s}     target ÷ what one partition carries
  #   {basis: sink, count: 6}                                       what suits the sink
  # config takes any of Kafka's topic keys; keys that do not stand here are left as they are.
  events:                             # from application services and backend APIs
    partitions: {basis: consumers, consumers: 6}
    replicationFactor: ${replicationFactor}
    retention: 7d                     # or unlimited
    config: {min.insync.replicas: ${minInsyncReplicas}}
  logs:                               # from backend APIs and background workers
    partitions: {basis: throughput, target: 40MB/s, perPartition: 10MB/s}
    replicationFactor: ${replicationFactor}
    retention: 30d
    config: {min.insync.replicas: ${minInsyncReplicas}}
  analytics:                          # from background workers
    partitions: {basis: sink, count: 6}
    replicationFactor: ${replicationFactor}
    retention: 3d
    config: {min.insync.replicas: ${minInsyncReplicas}}
  # Dead-letter topics follow from the roles: 1 partition, 30 days, replicated as their source. They need no entry.
`;
}

export const roleTexts: Readonly<Record<RoleName, string>> = {
  events: `  events:                             # the Event Processor: PostgreSQL tables, then the cache
    topic: events
    group: kpipe-events
    sink: postgres
    deadLetters: events.dlq           # records that cannot be stored, byte for byte
    # start: earliest                 # where a group without a position begins; or latest
    batch: {maxRows: 5000, maxBytes: 8MB, maxWait: 200ms}
    projections:                      # operational tables, kept by events; \`kpipe migrate\` makes what is missing
      - match: {type: 'order.*'}
        table: public.orders
        key: {order_id: {from: data.orderId, type: text}}
        columns:
          status: {from: data.status, type: text}
          amount_cents: {from: data.amountCents, type: bigint}
          customer_id: {from: data.customerId, type: text}
          updated_at: {from: time, type: timestamptz}
        deleteOn: [order.deleted]
    cache: {entities: [orders], ttl: 5m}
`,
  logs: `  logs:                               # the Log Aggregator: daily partitions, full-text search
    topic: logs
    group: kpipe-logs
    sink: postgres
    deadLetters: logs.dlq
    retention: 30d                    # of the stored lines
`,
  analytics: `  analytics:                          # the Analytics Pipeline: BigQuery only
    topic: analytics
    group: kpipe-analytics
    sink: bigquery
    deadLetters: analytics.dlq
    batch: {maxRows: 50000, maxBytes: 8MB, maxWait: 5s}
`,
};
