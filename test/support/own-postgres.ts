import { join } from 'node:path';

import { vi } from 'vitest';

import type { TestCluster } from './postgres-cluster.ts';
import type { FaultPipeline } from './fault-pipeline.ts';
import type { TestServers } from './servers.ts';

/** The test run's servers, with a PostgreSQL of one file's own in place of theirs. */
export function withPostgres(servers: TestServers, cluster: TestCluster): TestServers {
  const password = new URL(cluster.superuser()).password;
  const postgres = {
    host: '127.0.0.1',
    port: cluster.primary.port,
    replicaPort: cluster.standby.port,
    password,
    passwordFile: join(cluster.directory, 'password'),
    superuserPassword: password,
  };
  return { ...servers, postgres };
}

/** Resolves when the server takes connections again, and the pipeline's own is one of them. */
export async function reconnected(pipeline: FaultPipeline): Promise<void> {
  await vi.waitFor(() => pipeline.reconnect(), { timeout: 60_000, interval: 100 });
}
