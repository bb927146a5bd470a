import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { SandboxPaths } from './directory.ts';
import { writeAtomically } from './state.ts';

export type SecretName = 'postgres-kpipe' | 'postgres-superuser' | 'postgres-replication';

/** A file that holds the password and nothing else (no newline), readable by its owner only. */
export function secretPath(paths: Pick<SandboxPaths, 'secrets'>, name: SecretName): string {
  return join(paths.secrets, name);
}

/** The password, made on first use. It is hexadecimal, so that it needs no quoting in a URL, SQL or a password file. */
export function readSecret(paths: SandboxPaths, name: SecretName): string {
  const path = secretPath(paths, name);
  if (!existsSync(path)) {
    writeAtomically(path, randomBytes(24).toString('hex'), 0o600);
  }
  return readFileSync(path, 'utf8').trim();
}
