import { closeSync, existsSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { KpipeError } from '../errors.ts';
import { CONFIG_MARKER, sandboxConfig } from './config-text.ts';
import type { SandboxPaths } from './directory.ts';
import { secretPath } from './secrets.ts';
import { writeAtomically } from './state.ts';
import type { SandboxOptions, SandboxState } from './types.ts';

/** Writes the kpipe.yaml that points at the sandbox and says where. A file that is not the sandbox's own is never touched. */
export function writeConfigFile(paths: SandboxPaths, state: SandboxState, options: SandboxOptions): string {
  const path = configPath(paths, options);
  const text = sandboxConfig(state, secretPath(paths, 'postgres-kpipe'));
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    writeAtomically(path, text, 0o600);
  }
  return path;
}

/** Deletes the kpipe.yaml of a sandbox that is deleted, unless somebody changed it. */
export function removeConfigFile(paths: SandboxPaths, state: SandboxState): void {
  const path = state.configPath;
  if (path === null || !existsSync(path)) {
    return;
  }
  if (readFileSync(path, 'utf8') === sandboxConfig(state, secretPath(paths, 'postgres-kpipe'))) {
    rmSync(path);
  }
}

function configPath(paths: SandboxPaths, options: SandboxOptions): string {
  if (options.configPath !== undefined) {
    const named = resolve(options.workingDirectory, options.configPath);
    if (!isFreeOrOurs(named)) {
      throw new KpipeError('KPIPE_REFUSED', `${named} is there and was not written by the sandbox`, {
        next: 'name another file, or move that one away',
      });
    }
    return named;
  }
  const local = join(options.workingDirectory, 'kpipe.yaml');
  return isFreeOrOurs(local) ? local : paths.config;
}

/** Fails before anything is started when the named file may not be written. */
export function assertConfigWritable(paths: SandboxPaths, options: SandboxOptions): void {
  configPath(paths, options);
}

function isFreeOrOurs(path: string): boolean {
  if (!existsSync(path)) {
    return true;
  }
  const first = Buffer.alloc(CONFIG_MARKER.length);
  const file = openSync(path, 'r');
  try {
    readSync(file, first, 0, first.length, 0);
  } finally {
    closeSync(file);
  }
  return first.toString('utf8') === CONFIG_MARKER;
}
