import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

import { isDebugging } from './debug.ts';
import { helpSubject } from './help-request.ts';
import { endWithLauncher } from './launcher.ts';

export interface StartOptions {
  /** Commands and help as just compiled, not as last generated. */
  readonly development?: boolean;
}

/** Runs the command line of the package that `entry` (the URL of a file in its bin/) belongs to. */
export async function start(entry: string, options: StartOptions): Promise<void> {
  endWithLauncher();
  muteWarnings();
  const development = options.development ?? false;
  // React is several times slower in its development build, which it takes for granted; oclif looks for TypeScript sources.
  process.env['NODE_ENV'] = 'production';
  const argv = process.argv.slice(2);
  const text = development ? undefined : generatedHelp(argv);
  if (text !== undefined) {
    process.stdout.write(showsColour() ? text : stripVTControlCharacters(text));
    return;
  }
  enableCompileCache(join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kpipe', 'compiled'));
  const { runCommand } = await import('./run-command.ts');
  await runCommand({ root: fileURLToPath(new URL('..', entry)), argv, ignoreManifest: development });
}

/** What Node and libraries warn of (deprecations, an odd network) is for kpipe's authors: operators get coded errors. */
function muteWarnings(): void {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (isDebugging(process.env)) {
      process.stderr.write(`${warning.stack ?? warning.message}\n`);
    }
  });
}

/**
 * The help text that the build wrote (scripts/generate.mjs renders it with help.ts, the same class that oclif shows help
 * with), so that asking for help does not pay for loading oclif. Undefined when it is no request for help, or not foreseen.
 */
function generatedHelp(argv: readonly string[]): string | undefined {
  const subject = helpSubject(argv);
  if (subject === undefined) {
    return undefined;
  }
  try {
    const texts: unknown = JSON.parse(readFileSync(new URL('../help.json', import.meta.url), 'utf8'));
    return textIn(texts, subject);
  } catch {
    // Compiled without generating: oclif renders it.
    return undefined;
  }
}

function textIn(texts: unknown, subject: string): string | undefined {
  if (typeof texts !== 'object' || texts === null) {
    return undefined;
  }
  const text = Object.entries(texts).find(([name]) => name === subject)?.[1] as unknown;
  return typeof text === 'string' ? text : undefined;
}

function showsColour(): boolean {
  const forced = process.env['FORCE_COLOR'];
  if (forced !== undefined && forced !== '') {
    return forced !== '0' && forced !== 'false';
  }
  return process.stdout.isTTY && process.stdout.hasColors();
}
