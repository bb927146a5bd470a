// Builds what is not built yet and runs `kpipe demo` on the checkout's own Node. `npm run demo` sets up first.
// Plain JavaScript for the system's Node (18 or newer); arguments go to the demo: npm run demo -- --count 20000
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const node = join(root, 'node_modules', 'node', 'bin', 'node');

function newest(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((latest, entry) => Math.max(latest, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs), 0);
}

/** The compiler's own record is written at the end of each build, also when nothing else has changed. */
function buildIsCurrent() {
  const record = join(root, 'dist', '.tsbuildinfo');
  return (
    existsSync(record) &&
    existsSync(join(root, 'dist', 'cli', 'start.js')) &&
    statSync(record).mtimeMs >= newest(join(root, 'src'))
  );
}

if (!existsSync(node)) {
  process.stderr.write('demo: the packages are missing; run: npm run demo\n');
  process.exit(1);
}
if (!buildIsCurrent()) {
  process.stderr.write('demo: building …\n');
  const { status } = spawnSync(node, [join(root, 'scripts', 'build.mjs')], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) {
    process.stderr.write('demo: the build failed\n');
    process.exit(status ?? 1);
  }
}
const child = spawn(node, [join(root, 'bin', 'run.js'), 'demo', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
// Ctrl-C reaches the demo itself, which drains; this one only waits for it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('close', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
