import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { nodeIsRecent } from '../../src/cli/launch.ts';

/** A Node on this machine's PATH that is too old for kpipe, or undefined where there is none. */
export function findOldNode(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .concat('/usr/bin', '/usr/local/bin')
    .map((directory) => join(directory, 'node'))
    .filter((node) => existsSync(node))
    .find((node) => {
      const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
      return /^v\d/.test(stdout) && !nodeIsRecent(stdout.trim().slice(1));
    });
}
