import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import type { BackupConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { assertEnterable, type ServerUser } from '../sandbox/directory.ts';
import { postgresUser } from '../sandbox/postgres.ts';
import { identityOf, isAlive, parseIdentity } from '../sandbox/process-identity.ts';
import { openWorkspace, stopAll, type Workspace } from './programs.ts';

/**
 * A directory of its own for one restored server. It holds who made it: one whose maker has died is torn down by the next
 * run, server and all. One that is kept on purpose is marked, and stays.
 */
export interface Scratch {
  readonly directory: string;
  readonly workspace: Workspace;
  readonly data: string;
  readonly tablespaces: string;
  readonly wal: string;
  /** The socket's directory; only the server's user may enter it. */
  readonly socket: string;
  readonly user: ServerUser | undefined;
}

const prefix = 'kpipe-verify-';
const ownerFile = 'owner.json';
const keptFile = 'kept';
/** A socket's whole path has 107 bytes at most. */
const longestSocketDirectory = 85;

/** `--scratch`, else kpipe.yaml's, else below the state directory; for root below /var/lib, where other users can pass. */
export function scratchRoot(backups: BackupConfig, flag: string | undefined, environment: NodeJS.ProcessEnv): string {
  if (flag !== undefined) {
    return resolve(flag);
  }
  if (backups.scratch !== undefined) {
    return resolve(backups.directory, backups.scratch);
  }
  const stateHome = environment['XDG_STATE_HOME'];
  if (stateHome !== undefined && stateHome.startsWith('/')) {
    return join(stateHome, 'kpipe', 'scratch');
  }
  return process.getuid?.() === 0 ? '/var/lib/kpipe/scratch' : join(homedir(), '.local', 'state', 'kpipe', 'scratch');
}

/** @throws KPIPE_CONFIG_INVALID when the server's user cannot enter it, or its name would not stand in a command */
export function makeScratch(root: string): Scratch {
  const user = postgresUser();
  if (/["'%\\\n]/.test(root)) {
    throw new KpipeError('KPIPE_USAGE', `the scratch directory ${root} has a quote, a % or a \\ in its name`, {
      next: 'choose another with --scratch',
    });
  }
  mkdirSync(root, { recursive: true, mode: 0o711 });
  try {
    assertEnterable(root, user);
  } catch (error) {
    throw new KpipeError('KPIPE_USAGE', `the user that PostgreSQL runs as cannot enter ${root}`, {
      next: 'choose another with --scratch, such as /var/lib/kpipe/scratch',
      cause: error,
    });
  }
  const directory = mkdtempSync(join(root, prefix));
  writeFileSync(join(directory, ownerFile), JSON.stringify(identityOf(process.pid)), { mode: 0o600 });
  const workspace = openWorkspace(directory);
  const near = join(directory, 's');
  const socket = near.length <= longestSocketDirectory ? near : mkdtempSync(join(tmpdir(), 'kpipe-s-'));
  writeFileSync(join(directory, 'socket'), socket);
  const scratch = {
    directory,
    workspace,
    data: join(directory, 'pgdata'),
    tablespaces: join(directory, 'tablespaces'),
    wal: join(directory, 'wal'),
    socket,
    user,
  };
  for (const path of [scratch.data, scratch.tablespaces, scratch.wal, socket]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
    own(path, user);
  }
  return scratch;
}

export function own(path: string, user: ServerUser | undefined): void {
  if (user !== undefined) {
    chownSync(path, user.uid, user.gid);
  }
}

export function keepScratch({ directory }: Scratch): void {
  writeFileSync(join(directory, keptFile), '');
}

/** Ends the server and takes everything away. */
export async function tearDown(directory: string): Promise<void> {
  await stopAll(openWorkspace(directory));
  const socketFile = join(directory, 'socket');
  if (existsSync(socketFile)) {
    rmSync(readFileSync(socketFile, 'utf8'), { recursive: true, force: true });
  }
  rmSync(directory, { recursive: true, force: true });
}

/** Tears down what runs left that were killed. Returns the directories. */
export async function sweepScratch(root: string): Promise<readonly string[]> {
  const swept: string[] = [];
  for (const name of existsSync(root) ? readdirSync(root).filter((entry) => entry.startsWith(prefix)) : []) {
    const directory = join(root, name);
    const owner = readOwner(directory);
    if (!existsSync(join(directory, keptFile)) && owner !== undefined && !isAlive(owner)) {
      await tearDown(directory);
      swept.push(directory);
    }
  }
  return swept;
}

function readOwner(directory: string): ReturnType<typeof parseIdentity> {
  try {
    return parseIdentity(readFileSync(join(directory, ownerFile), 'utf8'));
  } catch {
    return undefined;
  }
}
