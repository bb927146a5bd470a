import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from 'pg';
import { vi } from 'vitest';

import { postgresUser } from '../../src/lib/sandbox/postgres.ts';
import { findPgBouncer, isMissing } from '../../src/lib/sandbox/tools.ts';
import { freePort } from './free-port.ts';
import type { PostgresServer, ReplicationCluster } from './replication-cluster.ts';

export interface PgBouncer {
  readonly port: number;
  readonly url: (user: string, database?: string) => string;
  readonly log: () => string;
}

/**
 * PgBouncer in transaction mode before a server, with few server connections, so that statements of one client do land on
 * several. It ignores no start-up parameter. Ended with the cluster.
 */
export async function startPgBouncer(
  cluster: ReplicationCluster,
  server: PostgresServer,
  users: readonly string[],
): Promise<PgBouncer> {
  const tool = findPgBouncer(process.env);
  if (isMissing(tool)) {
    throw new Error(tool.missing);
  }
  const port = await freePort();
  const file = (name: string): string => join(cluster.directory, `pgbouncer-${server.name}${name}`);
  const user = postgresUser();
  const write = (name: string, text: string): void => {
    writeFileSync(file(name), text);
    if (user !== undefined) {
      chownSync(file(name), user.uid, user.gid);
    }
  };
  write('.users', users.map((name) => `"${name}" ""\n`).join(''));
  write(
    '.ini',
    `[databases]
* = host=127.0.0.1 port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${file('.users')}
pool_mode = transaction
default_pool_size = 4
server_reset_query =
server_lifetime = 2
`,
  );
  const child = spawn(tool.program, [file('.ini')], {
    ...user,
    cwd: cluster.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const output of [child.stdout, child.stderr]) {
    output.on('data', (text: Buffer) => appendFileSync(file('.log'), text));
  }
  cluster.atEnd(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
  });
  const url = (as: string, database = 'postgres'): string => `postgres://${as}@127.0.0.1:${port}/${database}`;
  const [first = 'postgres'] = users;
  await vi.waitFor(
    async () => {
      const client = new Client({ connectionString: url(first), connectionTimeoutMillis: 2000 });
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
    },
    { timeout: 90_000, interval: 50 },
  );
  return { port, url, log: () => readFileSync(file('.log'), 'utf8') };
}
