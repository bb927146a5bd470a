import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { z } from 'zod';

import { findConfigFile, type ConfigLocation } from '../lib/config/load.ts';

/** The context that `kpipe context use` chose, kept per configuration file in the XDG state directory. */
const storeSchema = z.record(z.string(), z.string());

function storeFile(env: ConfigLocation['env']): string {
  const stateHome = env['XDG_STATE_HOME'] ?? join(env['HOME'] ?? homedir(), '.local', 'state');
  return join(stateHome, 'kpipe', 'contexts.json');
}

function readStore(env: ConfigLocation['env']): Record<string, string> {
  try {
    return storeSchema.parse(JSON.parse(readFileSync(storeFile(env), 'utf8')));
  } catch {
    // Absent, or not ours: no context was chosen.
    return {};
  }
}

export function storedContext(location: ConfigLocation): string | undefined {
  const store = readStore(location.env);
  if (Object.keys(store).length === 0) {
    return undefined;
  }
  try {
    return store[findConfigFile(location)];
  } catch {
    // No configuration file: loading it will say so.
    return undefined;
  }
}

/** Keeps the choice for the file; null forgets it. */
export function storeContext(configFile: string, context: string | null, env: ConfigLocation['env']): void {
  const { [configFile]: _previous, ...rest } = readStore(env);
  const file = storeFile(env);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(context === null ? rest : { ...rest, [configFile]: context }, null, 2)}\n`);
}
