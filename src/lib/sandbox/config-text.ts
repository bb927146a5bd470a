import type { SandboxState } from './types.ts';

/** Line 1 of a kpipe.yaml that `sandbox up` may write again. */
export const CONFIG_MARKER = '# written by kpipe sandbox up';

/**
 * The kpipe.yaml of a shop's pipeline on this sandbox. It holds no secret: the password is read from its file.
 * `passwordFile` is an absolute path.
 */
export function sandboxConfig(state: SandboxState, passwordFile: string): string {
  const { ports } = state;
  const replication = Math.min(3, state.brokers);
  const inSync = replication === 3 ? 2 : 1;
  const password = `\${file:${passwordFile}}`;
  const brokers = ports.brokers.map((port) => `127.0.0.1:${port}`).join(', ');
  return `${CONFIG_MARKER}, and written again by the next one. Delete this line to keep what you change.
pipeline: shop

kafka:
  brokers: [${brokers}]

topics:
  events:                             # from application services and backend APIs
    partitions: {basis: consumers, consumers: 6}
    replicationFactor: ${replication}
    retention: 7d
    config: {min.insync.replicas: ${inSync}}
  logs:                               # from backend APIs and background workers
    partitions: {basis: throughput, target: 40MB/s, perPartition: 10MB/s}
    replicationFactor: ${replication}
    retention: 30d
    config: {min.insync.replicas: ${inSync}}
  analytics:                          # from background workers
    partitions: {basis: sink, count: 6}
    replicationFactor: ${replication}
    retention: 3d
    config: {min.insync.replicas: ${inSync}}

roles:
  events:                             # the Event Processor: PostgreSQL tables, then the cache
    topic: events
    group: kpipe-events
    sink: postgres
    batch: {maxRows: 5000, maxBytes: 8MB, maxWait: 200ms}
    deadLetters: events.dlq
    projections:
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
  logs:                               # the Log Aggregator: daily partitions, full-text search
    topic: logs
    group: kpipe-logs
    sink: postgres
    deadLetters: logs.dlq
    retention: 30d
  analytics:                          # the Analytics Pipeline: BigQuery only
    topic: analytics
    group: kpipe-analytics
    sink: bigquery
    batch: {maxRows: 50000, maxBytes: 8MB, maxWait: 5s}
    deadLetters: analytics.dlq

postgres:
  primary: 'postgres://kpipe:${password}@127.0.0.1:${ports.postgresPrimary}/kpipe'
  replicas:
    - {name: replica1, url: 'postgres://kpipe:${password}@127.0.0.1:${ports.postgresReplica}/kpipe', maxLag: 5s}
  pool: {max: 4, statementTimeout: 30s}

redis:
  url: 'redis://127.0.0.1:${ports.redis}/0'
  fallback: {cache: postgres, sessions: postgres, rateLimits: postgres}

${bigQuerySection(state)}
alerts:
  lag: {time: 5m, lossIn: 6h}
  disk: {usedPercent: 85, fullIn: 3d}
  replica: {lag: 30s}
  backup: {age: 26h, verifiedAge: 8d}
`;
}

function bigQuerySection(state: SandboxState): string {
  const note = state.bigquery.available
    ? '# a stand-in on this machine; it proves nothing about Google’s BigQuery'
    : `# nothing answers here: ${state.bigquery.reason.replaceAll('\n', ' ')}`;
  return `bigquery:                             ${note}
  project: kpipe-local
  dataset: analytics
  table: events
  write: storage                      # storage (Storage Write API) | load (load jobs)
  endpoint: http://127.0.0.1:${state.ports.bigqueryRest}
  grpcEndpoint: 127.0.0.1:${state.ports.bigqueryGrpc}
`;
}
