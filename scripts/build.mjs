// Compiles src/ into dist/, takes away what has no source any more, and writes the help texts that bin/run.js prints.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** oclif finds commands by their files: one without a source would stay a command. */
function removeOrphans() {
  const dist = join(root, 'dist');
  if (!existsSync(dist)) {
    return;
  }
  for (const entry of readdirSync(dist, { recursive: true })) {
    const file = String(entry);
    const source = file.replace(/(\.d\.ts|\.js)(\.map)?$/, '');
    if (source !== file && !['.ts', '.tsx'].some((ending) => existsSync(join(root, 'src', source + ending)))) {
      rmSync(join(dist, file));
    }
  }
}

function run(script, ...args) {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    process.exit(status ?? 1);
  }
}

removeOrphans();
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
run(join(typescript, 'bin', 'tsc'), '-p', 'tsconfig.json');
if (!process.argv.includes('--compile-only')) {
  run(join(root, 'scripts', 'generate.mjs'), 'help');
}
