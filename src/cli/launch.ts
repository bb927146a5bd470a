import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

import { launcherVariable } from './launcher.ts';
import type { StartOptions } from './start.ts';

/**
 * The first code that runs, on whatever Node the shell found: built-in modules only, and only what Node 18 has. A Node that
 * is too old hands over to the checkout's own one and stays as its *launcher*: it passes signals on and ends as the child
 * ends. The child holds one end of a channel, so it learns at once when the launcher was killed (launcher.ts).
 */
const oldest = { major: 22, minor: 12 } as const;

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const satisfies readonly NodeJS.Signals[];

/** Whether kpipe runs on this version of Node, such as `22.12.0`. */
export function nodeIsRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest.major || (major === oldest.major && minor >= oldest.minor);
}

/** Runs the command line of the package that `entry`, the URL of a file in its bin/, belongs to. */
export async function launch(entry: string, options: StartOptions = {}): Promise<void> {
  if (nodeIsRecent(process.versions.node)) {
    const { start } = await import('./start.ts');
    await start(entry, options);
    return;
  }
  const node = fileURLToPath(new URL('../node_modules/node/bin/node', entry));
  const ownIsOldToo = process.env[launcherVariable] === String(process.ppid);
  if (ownIsOldToo || !existsSync(node)) {
    refuse(`kpipe needs Node ${oldest.major}.${oldest.minor} or newer; this is ${process.versions.node}`);
    return;
  }
  handOver(node, fileURLToPath(entry));
}

/**
 * A terminal's Ctrl-C reaches the child by itself, too, and so does a signal to the process group: nobody can tell from here,
 * so every signal is passed on, and the child takes one that comes twice at once for one (base-command.ts).
 */
function handOver(node: string, script: string): void {
  const child = spawn(node, [...process.execArgv, script, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [launcherVariable]: String(process.pid) },
  });
  const passOn = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  for (const signal of passedOn) {
    process.on(signal, passOn);
  }
  child.on('error', (error) => {
    refuse(
      `kpipe needs Node ${oldest.major}.${oldest.minor} or newer; this is ${process.versions.node}, and ${node} does not start: ${error.message}`,
    );
  });
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exit(code ?? 1);
    }
    for (const name of passedOn) {
      process.off(name, passOn);
    }
    // Ends as the child did, so that a shell sees the signal; the exit is for signals that do not end a process here.
    process.exitCode = 128 + constants.signals[signal];
    process.kill(process.pid, signal);
  });
}

function refuse(reason: string): void {
  process.stderr.write(`${reason}\n`);
  process.exitCode = 2;
}
