import { readFile, stat } from 'node:fs/promises';

import { parseConfig, type Config, type ConfigLocation } from './load.ts';

/** A file that was touched this moment may be half written. */
const settleMs = 1000;

/**
 * Follows kpipe.yaml while a command runs: each call answers what it says now, or null where the file is as it was at the
 * call before, or is not there. The first call always reads it.
 * @throws KPIPE_CONFIG_… once for each state of the file that is not valid
 */
export function followConfig(
  { file, context }: Pick<Config, 'file' | 'context'>,
  env: ConfigLocation['env'],
  nowMs: () => number,
): () => Promise<Config | null> {
  let seen = '';
  return async () => {
    const found = await stat(file).catch(() => null);
    if (found === null || nowMs() - found.mtimeMs < settleMs) {
      return null;
    }
    const state = `${found.ino} ${found.size} ${found.mtimeMs}`;
    if (state === seen) {
      return null;
    }
    seen = state;
    return parseConfig(await readFile(file, 'utf8'), file, env, context ?? undefined);
  };
}
