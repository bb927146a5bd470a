import { execFileSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

import { findPostgres18, isMissing, type PostgresTool } from '../../src/lib/sandbox/tools.ts';

/** PostgreSQL 18, which set-up puts beside the machine's own. Tests on it are skipped where it is not. */
const found = findPostgres18(process.env);

export const postgres18: PostgresTool | undefined = isMissing(found) ? undefined : found;

/** For the title of a test on it: why it was skipped, where it was. */
export const ifSkipped = isMissing(found) ? ` (skipped: there is no ${found.missing}; ${found.next})` : '';

/** What its server says that it is. */
export function versionOf18(): string {
  return execFileSync(join(postgres18?.bin ?? '', 'postgres'), ['--version'], { encoding: 'utf8' });
}

/** As this process's, with a PostgreSQL's programs before all others. */
export function environmentWith({ bin }: Pick<PostgresTool, 'bin'>): NodeJS.ProcessEnv {
  return { ...process.env, PATH: [bin, process.env['PATH'] ?? ''].join(delimiter) };
}
