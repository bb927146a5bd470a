// Compiles src/ into dist/, takes away what has no source any more, and writes the help texts that bin/run.js prints.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { rolldown } from 'rolldown';

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

/**
 * Puts what src/lib/kafka/driver.ts names of the Kafka driver into one file, in the place of the re-export that tsc writes
 * (which works too, but loads half a second longer: docs/adr/0010). Modules are taken to have no side effects, and the calls
 * that make schemas and requests which nobody uses are dropped.
 */
async function bundleDriver() {
  const target = join(root, 'dist', 'lib', 'kafka', 'driver.js');
  const bundle = await rolldown({
    input: join(root, 'src', 'lib', 'kafka', 'driver.ts'),
    platform: 'node',
    treeshake: { moduleSideEffects: false, manualPureFunctions: ['ajv', 'Ajv2020', 'createAPI'] },
  });
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
  await bundle.close();
  const [chunk] = output;
  const outside = chunk.imports.filter((name) => !name.startsWith('node:'));
  if (output.length !== 1 || outside.length > 0) {
    throw new Error(`the driver's bundle is not one file by itself: ${outside.join(', ')}`);
  }
  writeFileSync(join(dirname(target), 'driver.licenses.txt'), licensesOf(chunk.moduleIds));
  // In one step: another kpipe may be starting from this dist.
  writeFileSync(`${target}.new`, chunk.code);
  renameSync(`${target}.new`, target);
  rmSync(`${target}.map`, { force: true });
}

/** The licences of the packages that a bundle holds. */
function licensesOf(moduleIds) {
  const packages = moduleIds.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
  return [...new Set(packages)]
    .toSorted((left, right) => (left < right ? -1 : 1))
    .map((path) => {
      const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
      const file = readdirSync(path).find((entry) => /^licen[cs]e/i.test(entry));
      return `${name} ${version}: ${license}\n\n${file === undefined ? '' : readFileSync(join(path, file), 'utf8')}`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}

removeOrphans();
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
run(join(typescript, 'bin', 'tsc'), '-p', 'tsconfig.json');
if (!process.argv.includes('--compile-only')) {
  await bundleDriver();
  run(join(root, 'scripts', 'generate.mjs'), 'help');
}
