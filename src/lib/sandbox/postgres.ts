import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { KpipeError } from '../errors.ts';
import type { SandboxPaths, ServerUser } from './directory.ts';
import { type ProcessSpec, runToEnd } from './processes.ts';
import { readSecret } from './secrets.ts';
import type { SandboxTools } from './tools.ts';
import type { SandboxState } from './types.ts';

export const REPLICATION_SLOT = 'replica1';

/** As root, the ids of the user `postgres`; else undefined: PostgreSQL runs as whoever runs kpipe. */
export function postgresUser(uid: number | undefined = process.getuid?.()): ServerUser | undefined {
  if (uid !== 0) {
    return undefined;
  }
  try {
    const id = (flag: string): number =>
      Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: 'pipe' }));
    return { uid: id('-u'), gid: id('-g') };
  } catch (error) {
    throw new KpipeError('KPIPE_DEPENDENCY_MISSING', 'PostgreSQL does not run as root, and there is no user postgres', {
      next: 'run as an ordinary user, or install the postgresql package, which makes that user',
      cause: error,
    });
  }
}

interface ClusterFiles {
  readonly root: string;
  readonly primary: string;
  readonly replica: string;
  readonly passFile: string;
}

function clusterFiles(paths: SandboxPaths): ClusterFiles {
  const root = join(paths.data, 'postgres');
  return { root, primary: join(root, 'primary'), replica: join(root, 'replica1'), passFile: join(root, 'passfile') };
}

/** What both servers have in common. Durability is PostgreSQL's default: fsync and synchronous_commit are on. */
const common = `listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
wal_level = replica
max_wal_senders = 10
max_replication_slots = 10
max_slot_wal_keep_size = 4GB
hot_standby = on
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
jit = off
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d/%a '
log_timezone = 'UTC'
timezone = 'UTC'
`;

export function primarySettings(state: SandboxState): string {
  return `${common}port = ${state.ports.postgresPrimary}\ncluster_name = 'kpipe-primary'\n`;
}

export function replicaSettings(state: SandboxState, passFile: string): string {
  const conninfo = `host=127.0.0.1 port=${state.ports.postgresPrimary} user=replicator application_name=replica1 passfile=${passFile}`;
  return `${common}port = ${state.ports.postgresReplica}
cluster_name = 'kpipe-replica1'
primary_conninfo = '${conninfo.replaceAll("'", "''")}'
primary_slot_name = '${REPLICATION_SLOT}'
hot_standby_feedback = on
`;
}

/** Makes the primary's data directory where there is none, and writes its settings. */
export async function preparePrimary(
  paths: SandboxPaths,
  state: SandboxState,
  tools: SandboxTools,
  user: ServerUser | undefined,
  signal: AbortSignal,
): Promise<void> {
  const files = clusterFiles(paths);
  mkdirSync(files.root, { recursive: true, mode: 0o700 });
  own(files.root, user);
  writeOwned(files.passFile, `127.0.0.1:*:*:replicator:${readSecret(paths, 'postgres-replication')}\n`, user);
  if (!existsSync(files.primary)) {
    await initialise(paths, tools, files, user, signal);
  }
  writeOwned(join(files.primary, 'kpipe.conf'), primarySettings(state), user);
}

/** A killed initdb leaves only the `.new` directory, which the next try clears. */
async function initialise(
  paths: SandboxPaths,
  tools: SandboxTools,
  files: ClusterFiles,
  user: ServerUser | undefined,
  signal: AbortSignal,
): Promise<void> {
  const fresh = `${files.primary}.new`;
  const passwordFile = join(files.root, 'initdb-password');
  rmSync(fresh, { recursive: true, force: true });
  writeOwned(passwordFile, readSecret(paths, 'postgres-superuser'), user);
  try {
    const args = ['-D', fresh, '-U', 'postgres', '--pwfile', passwordFile, '--auth=scram-sha-256', '--data-checksums'];
    const spec = postgresSpec(tools, files, user, 'postgres-initdb', 'initdb', [
      ...args,
      '-E',
      'UTF8',
      '--locale=C.UTF-8',
    ]);
    await runToEnd(paths, spec, signal);
  } finally {
    rmSync(passwordFile, { force: true });
  }
  includeSettings(fresh, user);
  renameSync(fresh, files.primary);
}

function includeSettings(directory: string, user: ServerUser | undefined): void {
  const path = join(directory, 'postgresql.conf');
  writeOwned(path, `${readFileSync(path, 'utf8')}\ninclude 'kpipe.conf'\n`, user);
}

/** Copies the running primary where there is no replica yet, and writes the replica's settings. */
export async function prepareReplica(
  paths: SandboxPaths,
  state: SandboxState,
  tools: SandboxTools,
  user: ServerUser | undefined,
  signal: AbortSignal,
): Promise<void> {
  const files = clusterFiles(paths);
  if (!existsSync(files.replica)) {
    const fresh = `${files.replica}.new`;
    rmSync(fresh, { recursive: true, force: true });
    const connection = [
      '-h',
      '127.0.0.1',
      '-p',
      String(state.ports.postgresPrimary),
      '-U',
      'replicator',
      '--no-password',
    ];
    const args = ['-D', fresh, ...connection, '-X', 'stream', '-S', REPLICATION_SLOT, '--checkpoint=fast'];
    await runToEnd(paths, postgresSpec(tools, files, user, 'postgres-basebackup', 'pg_basebackup', args), signal);
    writeOwned(join(fresh, 'standby.signal'), '', user);
    renameSync(fresh, files.replica);
  }
  writeOwned(join(files.replica, 'kpipe.conf'), replicaSettings(state, files.passFile), user);
}

export function serverSpec(
  paths: SandboxPaths,
  tools: SandboxTools,
  user: ServerUser | undefined,
  server: 'postgres-primary' | 'postgres-replica1',
): ProcessSpec {
  const files = clusterFiles(paths);
  const directory = server === 'postgres-primary' ? files.primary : files.replica;
  return postgresSpec(tools, files, user, server, 'postgres', ['-D', directory]);
}

function postgresSpec(
  tools: SandboxTools,
  files: ClusterFiles,
  user: ServerUser | undefined,
  name: string,
  program: string,
  args: readonly string[],
): ProcessSpec {
  return {
    name,
    file: join(tools.postgres.bin, program),
    args,
    workingDirectory: files.root,
    environment: {
      PATH: `${tools.postgres.bin}:/usr/bin:/bin`,
      LC_ALL: 'C.UTF-8',
      TZ: 'UTC',
      HOME: files.root,
      PGPASSFILE: files.passFile,
    },
    user,
  };
}

function own(path: string, user: ServerUser | undefined): void {
  if (user !== undefined) {
    chownSync(path, user.uid, user.gid);
  }
}

function writeOwned(path: string, text: string, user: ServerUser | undefined): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  own(temporary, user);
  renameSync(temporary, path);
}
