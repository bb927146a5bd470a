// Runs every check in order, stops at the first that fails, and closes with the tests' count: `N passed, N failed`.
// Plain JavaScript for the system's Node (18 or newer); what it starts runs on the checkout's own Node.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const ownNode = join(root, 'node_modules', 'node', 'bin');

/** @typedef {{name: string, commands: readonly (readonly string[])[], tests?: boolean}} Step */

/** @type {readonly Step[]} */
const steps = [
  { name: 'format', commands: [['oxfmt', '--check']] },
  { name: 'lint', commands: [['oxlint', '--type-aware', '--deny-warnings']] },
  {
    name: 'types',
    commands: [
      ['tsc', '-p', 'tsconfig.json', '--noEmit'],
      ['tsc', '-p', 'test/tsconfig.json'],
    ],
  },
  { name: 'unused code', commands: [['knip']] },
  { name: 'unit and ui tests', commands: [['vitest', 'run', '--project', 'unit', '--project', 'ui']], tests: true },
  { name: 'build', commands: [['node', 'scripts/build.mjs']] },
  { name: 'stale files', commands: [['node', 'scripts/generate.mjs', '--check']] },
  {
    name: 'cli, integration and fault tests',
    // one run, so that they share one sandbox; vitest.config.ts keeps their order
    commands: [['vitest', 'run', '--project', 'cli', '--project', 'integration', '--project', 'faults']],
    tests: true,
  },
];

const environment = {
  ...process.env,
  PATH: [ownNode, join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
};

/** The exit code of the command; its output goes where the gate's goes. */
function run([command, ...args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: environment, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/**
 * Vitest's own count, by file. A file that could not be loaded has no failed test, but the run has failed.
 * @returns {Promise<{code: number, files: readonly {path: string, passed: number, failed: number, ok: boolean}[]}>}
 */
async function runVitest(command) {
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-gate-'));
  const report = join(directory, 'report.json');
  try {
    const code = await run([...command, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]);
    const { testResults = [] } = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {};
    const files = testResults.map(({ name, status, assertionResults }) => ({
      path: relative(root, name),
      passed: assertionResults.filter((test) => test.status === 'passed').length,
      failed: assertionResults.filter((test) => test.status === 'failed').length,
      ok: status === 'passed',
    }));
    return { code, files };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Where it stands on real brokers, databases and terminals, a file that failed gets one second run, afresh and by itself,
 * which is told. Never the fault tests: what they find once is found.
 */
async function runTests(command) {
  const first = await runVitest(command);
  const broken = first.files.filter(({ ok }) => !ok);
  const onServers = ({ path }) => path.startsWith('test/cli/') || path.startsWith('test/integration/');
  if (first.code === 0 || broken.length === 0 || broken.length > 5 || !broken.every(onServers)) {
    return count(first.code, first.files);
  }
  const paths = broken.map(({ path }) => path);
  console.log(`\n== a second run, since these failed once: ${paths.join(', ')}`);
  const second = await runVitest(['vitest', 'run', '--project', 'cli', '--project', 'integration', ...paths]);
  console.log(`== the second run ${second.code === 0 ? 'passed' : 'failed, too'}`);
  return count(second.code, [...first.files.filter(({ ok }) => ok), ...second.files]);
}

function count(code, files) {
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const failed = sum(files.map((file) => file.failed));
  return { code, passed: sum(files.map((file) => file.passed)), failed: code === 0 ? failed : Math.max(1, failed) };
}

async function runStep(step) {
  const total = { code: 0, passed: 0, failed: 0 };
  for (const command of step.commands) {
    console.log(`\n== ${step.name}: ${command.join(' ')}`);
    const began = Date.now();
    const result = step.tests
      ? await runTests(command)
      : await run(command).then((code) => ({ code, passed: 0, failed: code === 0 ? 0 : 1 }));
    console.log(
      `== ${step.name}: ${result.code === 0 ? 'ok' : `failed (exit ${result.code})`}, ${((Date.now() - began) / 1000).toFixed(1)} s`,
    );
    total.passed += result.passed;
    total.failed += result.failed;
    total.code = result.code;
    if (result.code !== 0) {
      break;
    }
  }
  return total;
}

if (!existsSync(join(ownNode, 'node'))) {
  console.error('the packages are not installed: run node scripts/setup.mjs first');
  process.exit(2);
}

let passed = 0;
let failed = 0;
let exitCode = 0;
for (const step of steps) {
  const result = await runStep(step);
  passed += result.passed;
  failed += result.failed;
  if (result.code !== 0) {
    console.log(`\nthe gate stops at: ${step.name}`);
    exitCode = 1;
    break;
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = exitCode;
