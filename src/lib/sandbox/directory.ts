import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { KpipeError } from '../errors.ts';

/** PostgreSQL refuses to run as root; these are the ids that it gets instead. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Where the sandbox lives: `$KPIPE_SANDBOX_DIR`, else `$XDG_STATE_HOME/kpipe/sandbox` (`~/.local/state` by default). For
 * root without either variable it is `/var/lib/kpipe/sandbox`: PostgreSQL then runs as the user `postgres`, who cannot
 * enter root's home.
 */
export function sandboxDirectory(environment: NodeJS.ProcessEnv, uid: number | undefined = process.getuid?.()): string {
  const named = environment['KPIPE_SANDBOX_DIR'];
  if (named !== undefined && named !== '') {
    return resolve(named);
  }
  const stateHome = environment['XDG_STATE_HOME'];
  if (stateHome !== undefined && stateHome.startsWith('/')) {
    return join(stateHome, 'kpipe', 'sandbox');
  }
  return uid === 0 ? '/var/lib/kpipe/sandbox' : join(homedir(), '.local', 'state', 'kpipe', 'sandbox');
}

export interface SandboxPaths {
  readonly directory: string;
  readonly state: string;
  readonly lock: string;
  readonly config: string;
  readonly conf: string;
  readonly data: string;
  readonly logs: string;
  readonly run: string;
  readonly secrets: string;
}

export function sandboxPaths(directory: string): SandboxPaths {
  return {
    directory,
    state: join(directory, 'state.json'),
    lock: join(directory, 'lock'),
    config: join(directory, 'kpipe.yaml'),
    conf: join(directory, 'conf'),
    data: join(directory, 'data'),
    logs: join(directory, 'logs'),
    run: join(directory, 'run'),
    secrets: join(directory, 'secrets'),
  };
}

export function logPath(paths: SandboxPaths, server: string): string {
  return join(paths.logs, `${server}.log`);
}

/** Makes the folders; those that PostgreSQL's user has to pass through can be entered, not listed, by others. */
export function makeSandboxDirectories(paths: SandboxPaths): void {
  try {
    mkdirSync(paths.directory, { recursive: true });
    chmodSync(paths.directory, 0o711);
    for (const path of [paths.conf, paths.data]) {
      mkdirSync(path, { recursive: true });
      chmodSync(path, 0o711);
    }
    for (const path of [paths.logs, paths.run, paths.secrets]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    }
  } catch (error) {
    throw new KpipeError('KPIPE_SANDBOX_FAILED', `the sandbox's directory ${paths.directory} cannot be made`, {
      next: 'set KPIPE_SANDBOX_DIR to a directory that you can write to',
      cause: error,
    });
  }
}

/** Fails when `user` cannot reach `directory` because a folder above it is closed to others. */
export function assertEnterable(directory: string, user: ServerUser | undefined): void {
  if (user === undefined) {
    return;
  }
  for (let path = directory; ; path = dirname(path)) {
    const { mode, uid, gid } = statSync(path);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) {
      throw new KpipeError(
        'KPIPE_SANDBOX_FAILED',
        `PostgreSQL does not run as root, and the user it runs as cannot enter ${path}`,
        { next: 'set KPIPE_SANDBOX_DIR to a directory outside it, such as /var/lib/kpipe/sandbox' },
      );
    }
    if (path === dirname(path)) {
      return;
    }
  }
}
