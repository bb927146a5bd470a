import { chmodSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

import { parseConfig, type Config, type ConfigLocation } from '../../config/load.ts';
import { KpipeError, messageOf } from '../../errors.ts';
import type { YamlEdit } from './advice.ts';
import { editYaml } from './edit-yaml.ts';

/** What `--write` did to kpipe.yaml. */
export interface WrittenEdits {
  readonly file: string;
  /** Unified. */
  readonly diff: readonly string[];
}

/**
 * Writes the edits into the file that the configuration came from, by a rename. Nothing is written when the file says
 * something else by now, or when the edited one would be read otherwise than meant.
 * @throws KPIPE_PLAN_STALE, KPIPE_REFUSED, KPIPE_INPUT_INVALID
 */
export function writeEdits(config: Config, edits: readonly YamlEdit[], env: ConfigLocation['env']): WrittenEdits {
  const { file, context } = config;
  const text = readFileSync(file, 'utf8');
  const now = parseConfig(text, file, env, context ?? undefined);
  if (!isDeepStrictEqual([now.topics, now.roles], [config.topics, config.roles])) {
    throw new KpipeError('KPIPE_PLAN_STALE', `${file} has changed while kpipe watched: nothing was written`, {
      next: 'run it again',
    });
  }
  const edited = editYaml(text, edits, context);
  refuseOtherChanges(now, parseConfig(edited.text, file, env, context ?? undefined), edits);
  replaceFile(file, edited.text);
  return { file, diff: edited.diff };
}

/** An anchor that others share would change them, too; a context that says more would leave it as it is. */
function refuseOtherChanges(before: Config, after: Config, edits: readonly YamlEdit[]): void {
  const meant = [...new Set(edits.map(({ path }) => path.slice(0, 2).join('.')))];
  const changed = changedEntries(before, after);
  const wrong = [
    ...changed.filter((name) => !meant.includes(name)).map((name) => `change ${name}, too`),
    ...meant.filter((name) => !changed.includes(name)).map((name) => `leave ${name} as it is`),
  ];
  if (wrong.length > 0) {
    throw new KpipeError('KPIPE_REFUSED', `the edit would ${wrong.join(' and ')}: nothing was written`, {
      next: 'make the edits by hand',
    });
  }
}

function changedEntries(before: Config, after: Config): readonly string[] {
  return (['topics', 'roles'] as const).flatMap((section) => {
    const was = new Map<string, unknown>(Object.entries(before[section]));
    return Object.entries(after[section])
      .filter(([name, value]) => !isDeepStrictEqual(value, was.get(name)))
      .map(([name]) => `${section}.${name}`);
  });
}

/** Whole or not at all; a link stays a link, and the mode stays. */
function replaceFile(file: string, text: string): void {
  const target = realpathSync(file);
  const fresh = `${target}.${process.pid}.new`;
  try {
    const { mode } = statSync(target);
    writeFileSync(fresh, text, { flag: 'wx', mode: mode & 0o777 });
    chmodSync(fresh, mode & 0o777);
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw new KpipeError('KPIPE_INPUT_INVALID', `${file} cannot be written: ${messageOf(error)}`, {
      next: 'let the file and its directory be writable, or make the edits by hand',
      cause: error,
    });
  }
}
