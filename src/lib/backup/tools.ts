import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import type { Secret } from '../config/secrets.ts';
import { KpipeError } from '../errors.ts';
import { installedPostgres } from '../sandbox/tools.ts';

/** PostgreSQL's own programs of one major version. */
export interface PostgresPrograms {
  readonly bin: string;
  readonly major: number;
  /** `15.18`. */
  readonly version: string;
}

/** The programs of a major version; undefined where they are not installed. */
export function programsOf(major: number, environment: NodeJS.ProcessEnv): PostgresPrograms | undefined {
  const found = installedPostgres(environment).find((tool) => tool.major === major);
  if (found === undefined) {
    return undefined;
  }
  const text = execFileSync(join(found.bin, 'pg_basebackup'), ['--version'], { encoding: 'utf8', timeout: 20_000 });
  return { ...found, version: /\) (\d+(?:\.\d+)?)/.exec(text)?.[1] ?? String(major) };
}

/** The programs for a server. pg_receivewal and pg_waldump want the server's own major version. */
export function requirePrograms(major: number, environment: NodeJS.ProcessEnv): PostgresPrograms {
  const programs = programsOf(major, environment);
  if (programs === undefined) {
    throw new KpipeError('KPIPE_DEPENDENCY_MISSING', `the programs of PostgreSQL ${major} are not installed here`, {
      next: `install postgresql-${major} (its server programs; no server needs to run)`,
    });
  }
  return programs;
}

/** The first release of each major version whose pg_basebackup a malicious server cannot lead astray (CVE-2026-6475). */
const floors: ReadonlyMap<number, number> = new Map([
  [15, 18],
  [16, 14],
  [17, 10],
  [18, 4],
]);

export function isBelowFloor(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const floor = floors.get(major);
  return floor === undefined ? major < 15 : minor < floor;
}

/** On this machine, or vouched for. */
export function isTrusted(url: Secret, trustServer: boolean): boolean {
  const { hostname } = new URL(url.reveal());
  return trustServer || /^(?:127\.\d+\.\d+\.\d+$|localhost$|\[::1\]$|%2F|$)/i.test(hostname);
}

/** @throws KPIPE_REFUSED */
export function refuseUnsafeProgram(programs: PostgresPrograms, url: Secret, trustServer: boolean): void {
  if (isBelowFloor(programs.version) && !isTrusted(url, trustServer)) {
    throw new KpipeError(
      'KPIPE_REFUSED',
      `pg_basebackup ${programs.version} writes wherever a malicious server tells it to (CVE-2026-6475)`,
      { next: 'update the PostgreSQL client programs; for a server that is yours: postgres.backups.trustServer: true' },
    );
  }
}
