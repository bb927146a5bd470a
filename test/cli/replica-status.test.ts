import { expect, inject, test } from 'vitest';

import type { ReplicaReport } from '../../src/lib/replication/report.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { freePort } from '../support/free-port.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';

const { postgres } = inject('servers');
const directory = pipelineDirectory();
const login = (port: number): string => `postgres://kpipe:\${file:${postgres.passwordFile}}@127.0.0.1:${port}/kpipe`;

function configWith(
  name: string,
  replicas: readonly { readonly name: string; readonly port: number }[],
  primary = postgres.port,
) {
  const text = {
    pipeline: 'test',
    kafka: { brokers: ['localhost:1'] },
    postgres: {
      primary: login(primary),
      replicas: replicas.map((replica) => ({ name: replica.name, url: login(replica.port), maxLag: '1h' })),
    },
  };
  return directory.write(JSON.stringify(text), name);
}

const status = (config: string, ...args: readonly string[]) =>
  kpipe(['replica', 'status', '--config', config, ...args], directory.options);

test('one end that is missing is an answer: exit 0, 3 only when that was asked for', async () => {
  const ghost = await freePort();
  const config = configWith('missing.yaml', [
    { name: 'replica1', port: postgres.replicaPort },
    { name: 'ghost', port: ghost },
  ]);
  const seen = await status(config, '--json');
  expect(seen.code).toBe(0);
  const report = JSON.parse(seen.stdout) as ReplicaReport;
  expect(report.ok).toBe(false);
  expect(report.problems.map(({ standby, code }) => [standby, code])).toEqual([['ghost', 'MISSING']]);
  expect(report.standbys.map(({ name, reachable, state }) => [name, reachable, state])).toEqual([
    ['replica1', true, 'streaming'],
    ['ghost', false, null],
  ]);
  expect(report.primary.lsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);

  const checked = await status(config, '--check');
  expect(checked.code).toBe(3);
  expect(checked.stdout).toMatch(/! ghost: MISSING kpipe\.yaml declares it/);
  expect(checked.stdout).toMatch(/→ start it, or take it out of postgres\.replicas/);
  expect((await status(config, '--fail-on', 'SLOT_LOST')).code).toBe(0);
  const failed = await status(config, '--fail-on', 'missing,lag>1h');
  expect(failed.code).toBe(3);
  expect(failed.stderr).toContain('cannot judge lag>1h for ghost');
});

test('a primary that is away: the standby is asked all the same', async () => {
  const config = configWith('headless.yaml', [{ name: 'replica1', port: postgres.replicaPort }], await freePort());
  const { code, stdout } = await status(config, '--json');
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as ReplicaReport;
  expect(report.problems.map((problem) => problem.code)).toEqual(['PRIMARY_UNREACHABLE']);
  expect(report.standbys[0]).toMatchObject({ reachable: true, inRecovery: true, lagMs: expect.any(Number) as number });
});

test('nobody answers: exit 1', async () => {
  const port = await freePort();
  const { code, stderr, stdout } = await status(configWith('nobody.yaml', [{ name: 'replica1', port }], port));
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^KPIPE_POSTGRES_UNREACHABLE no server answers/);
});

test('a probe is timed', async () => {
  const config = configWith('probed.yaml', [{ name: 'replica1', port: postgres.replicaPort }]);
  const { code, stdout } = await status(config, '--probe', '--check', '--json');
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as ReplicaReport;
  expect(report.standbys[0]!.probeMs).toBeGreaterThan(0);
  expect(report.standbys[0]!.lagMethod).toBe('probe');
});

test('without a terminal --watch prints a document a look, until it is stopped', async () => {
  const config = configWith('watched.yaml', [{ name: 'replica1', port: postgres.replicaPort }]);
  const args = ['replica', 'status', '--config', config, '--watch', '--interval', '200ms'];
  const watching = runProgram(process.execPath, [`${root}bin/run.js`, ...args], directory.options);
  await watching.shows(/^\{.*\}\n\{.*\}\n/);
  watching.child.kill('SIGINT');
  const { code, stdout } = await watching.ended;
  expect(code).toBe(130);
  const looks = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ReplicaReport);
  expect(looks.length).toBeGreaterThanOrEqual(2);
  expect(looks.every(({ standbys }) => standbys[0]?.state === 'streaming')).toBe(true);
});

test.each([
  [['--fail-on', 'lag>30'], 'not a condition: lag>30'],
  [['--watch', '--json'], '--watch prints many documents'],
  [['--interval', '1s'], 'watch'],
])('%s is refused', async (args, text) => {
  const { code, stderr } = await status(configWith('usage.yaml', []), ...args);
  expect(code).toBe(2);
  expect(stderr).toContain(text);
});
