// Runs the fault tests: `npm run faults -- --rounds 500 --seed 7 [file filter]`. Without --seed one is chosen and said.
// --source takes one way to read alone; --long holds outages and storms for minutes.
// KPIPE_TEST_SANDBOX=DIR uses a sandbox that runs already. Plain JavaScript for the system's Node (18 or newer).
import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const usage = 'usage: npm run faults -- [--rounds N] [--seed N] [--source classic|consumer] [--long] [test file…]';

function options() {
  try {
    return parseArgs({
      options: {
        rounds: { type: 'string' },
        seed: { type: 'string' },
        source: { type: 'string' },
        long: { type: 'boolean' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    process.stderr.write(`${error.message}\n${usage}\n`);
    return process.exit(2);
  }
}

const { values, positionals } = options();
for (const name of ['rounds', 'seed']) {
  const value = values[name];
  if (value !== undefined && !/^[1-9]\d{0,8}$/.test(value)) {
    process.stderr.write(`--${name} ${value} is not a whole number from 1 to 999999999\n${usage}\n`);
    process.exit(2);
  }
}

if (values.source !== undefined && !['classic', 'consumer'].includes(values.source)) {
  process.stderr.write(`--source ${values.source} is none of classic, consumer\n${usage}\n`);
  process.exit(2);
}

const bin = join(root, 'node_modules', '.bin');
const child = spawn(join(bin, 'vitest'), ['run', '--project', 'faults', ...positionals], {
  cwd: root,
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: [join(root, 'node_modules', 'node', 'bin'), bin, process.env.PATH].join(delimiter),
    ...(values.rounds === undefined ? {} : { KPIPE_FAULT_ROUNDS: values.rounds }),
    ...(values.seed === undefined ? {} : { KPIPE_FAULT_SEED: values.seed }),
    ...(values.source === undefined ? {} : { KPIPE_FAULT_SOURCE: values.source }),
    ...(values.long === true ? { KPIPE_FAULT_LONG: '1' } : {}),
  },
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => child.kill(signal));
}
child.on('error', (error) => {
  process.stderr.write(`vitest does not start (${error.message}): run npm install first\n`);
  process.exitCode = 2;
});
child.on('close', (code) => {
  process.exitCode ??= code ?? 1;
});
