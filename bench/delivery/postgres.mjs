// A PostgreSQL of the bench's own, on the loopback: no standby that takes CPU, nothing else in it.
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';

import { postgresUser } from '../../dist/lib/sandbox/postgres.js';
import { findPostgres, isMissing } from '../../dist/lib/sandbox/tools.js';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Durability is PostgreSQL's default: fsync and synchronous_commit are on. */
export async function startPostgres() {
  const tool = findPostgres(process.env);
  if (isMissing(tool)) {
    throw new Error(tool.missing);
  }
  const user = postgresUser();
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-postgres-'));
  if (user !== undefined) {
    chownSync(directory, user.uid, user.gid);
  }
  const data = join(directory, 'data');
  const run = { cwd: directory, ...user, env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', TZ: 'UTC' } };
  const made = spawnSync(
    join(tool.bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8', '--data-checksums'],
    run,
  );
  if (made.status !== 0) {
    throw new Error(['initdb:', made.stderr].join(' '));
  }
  const port = await freePort();
  appendFileSync(
    join(data, 'postgresql.conf'),
    `listen_addresses='127.0.0.1'\nport=${port}\nunix_socket_directories=''\nshared_buffers=1GB\nmax_wal_size=8GB\njit=off\nautovacuum=off\n`,
  );
  const server = spawn(join(tool.bin, 'postgres'), ['-D', data], { ...run, stdio: 'ignore' });
  const url = (database) => `postgres://postgres@127.0.0.1:${port}/${database}`;
  const client = await connected(url('postgres'));
  return {
    pid: server.pid,
    url,
    client,
    async stop() {
      await client.end();
      const ended = new Promise((resolve) => server.on('close', resolve));
      server.kill('SIGINT');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function connected(url) {
  for (let attempt = 0; ; attempt += 1) {
    const client = new pg.Client(url);
    client.on('error', () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      if (attempt === 100) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
