// Makes a checkout ready to build, test and run: packages, Node 24, and the servers' programs. What is there is used as it is;
// when all of it is, this touches neither the network nor apt. Plain JavaScript for the system's Node (18 or newer).
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const ownNode = join(root, 'node_modules', 'node', 'bin', 'node');
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** Runs a command, says what it did and how long it took, and ends the set-up when it failed. */
function step(what, command, args, cwd = root) {
  const began = Date.now();
  say(`${what} …`);
  const { status, error, stdout } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (error !== undefined || status !== 0) {
    process.stderr.write(stdout ?? '');
    fail(`${what}: failed (${error?.message ?? `exit ${status}`}); try it by hand: ${command} ${args.join(' ')}`);
  }
  say(`${what}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
}

/** npm writes its own record of what it installed; older than the lock file means that the lock file has changed since. */
function packagesAreCurrent() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
}

function ownNodeMajor() {
  const { stdout } = spawnSync(ownNode, ['--version'], { encoding: 'utf8' });
  return Number(/^v(\d+)\./.exec(stdout ?? '')?.[1] ?? 0);
}

if (!packagesAreCurrent()) {
  step('npm packages (npm ci)', npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}
// The package `node` brings its binary by an install script, which npm can be told not to run.
if (ownNodeMajor() < 22) {
  step(
    "Node 24 for this checkout (the package's install script)",
    process.execPath,
    ['installArchSpecificPackage.js'],
    join(root, 'node_modules', 'node'),
  );
  if (ownNodeMajor() < 22) {
    fail(`${ownNode} does not run; remove node_modules and run this again, with npm's install scripts allowed`);
  }
}
const servers = spawnSync(ownNode, [join(root, 'scripts', 'setup-servers.mjs'), ...process.argv.slice(2)], {
  cwd: root,
  stdio: ['inherit', 2, 2],
});
process.exit(servers.status ?? 1);
