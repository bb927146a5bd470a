import { roleNames } from '../config/schema.ts';
import { roleTexts, topicsSection } from '../init/pipeline-sections.ts';
import type { SandboxState } from './types.ts';

/** Line 1 of a kpipe.yaml that `sandbox up` may write again. */
export const CONFIG_MARKER = '# written by kpipe sandbox up';

/**
 * The kpipe.yaml of a shop's pipeline on this sandbox. It holds no secret: the password is read from its file.
 * `passwordFile` is an absolute path.
 */
export function sandboxConfig(state: SandboxState, passwordFile: string): string {
  const { ports } = state;
  const replicationFactor = Math.min(3, state.brokers);
  const password = `\${file:${passwordFile}}`;
  const brokers = ports.brokers.map((port) => `127.0.0.1:${port}`).join(', ');
  return `${CONFIG_MARKER}, and written again by the next one. Delete this line to keep what you change.
pipeline: shop

kafka:
  brokers: [${brokers}]

${topicsSection({ replicationFactor, minInsyncReplicas: replicationFactor === 3 ? 2 : 1 })}
roles:
${roleNames.map((role) => roleTexts[role]).join('')}
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
