import { describe, expect, inject, test } from 'vitest';

import type { GateReport } from '../../src/lib/health/gate.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe } from '../support/run-kpipe.ts';

const servers = inject('servers');
const directory = pipelineDirectory();

/** A kpipe.yaml of Kafka and whatever else a test asks for. */
function file(name: string, more: string): string {
  return directory.write(`pipeline: gate\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n${more}`, name);
}
const away = 'redis: {url: "redis://127.0.0.1:1/0"}\n';
const run = (config: string, ...args: readonly string[]) =>
  kpipe(['check', '--config', config, ...args], directory.options);

describe('kpipe check', () => {
  test('skips what is not configured and says so; exit 0', async () => {
    const { code, stdout } = await run(file('bare.yaml', ''), '--json', 'lag', 'replica', 'backup', 'bigquery');
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as GateReport;
    expect(Object.keys(report)).toEqual(['observedAt', 'ok', 'parts']);
    expect(report.parts.map(({ part, state, detail }) => [part, state, detail])).toEqual([
      ['lag', 'skipped', 'no roles in kpipe.yaml'],
      ['replica', 'skipped', 'no postgres.replicas in kpipe.yaml'],
      ['backup', 'skipped', 'no postgres.backups in kpipe.yaml'],
      ['bigquery', 'skipped', 'no bigquery in kpipe.yaml'],
    ]);
  });

  test('a store that is away is a finding, not a crash; the others are judged; exit 3', async () => {
    const redis = `redis: {url: "${servers.redisUrl}"}\n`;
    const fine = await run(file('redis.yaml', redis), 'redis');
    expect(fine.code).toBe(0);
    expect(fine.stdout).toMatch(/^ok +redis +\d of \d checks fine/);
    const { code, stdout } = await run(file('away.yaml', away), 'redis', 'lag');
    expect(code).toBe(3);
    expect(stdout).toMatch(/^FAIL +redis +cannot be looked at/m);
    expect(stdout).toMatch(/^ {2}✗ KPIPE_REDIS_UNREACHABLE /m);
    expect(stdout).toMatch(/^skipped +lag /m);
    expect(stdout).toMatch(/^to act on: redis$/m);
  });

  test('brokers are judged by alerts.disk', async () => {
    const { code, stdout } = await run(
      file('disk.yaml', 'alerts: {disk: {usedPercent: 0.001}}\n'),
      'brokers',
      '--json',
    );
    expect(code).toBe(3);
    const [part] = (JSON.parse(stdout) as GateReport).parts;
    expect(part?.findings.filter(({ detail }) => detail.startsWith('DISK_USED'))).toHaveLength(3);
    expect(part?.figures.find(({ name }) => name === 'disk_1')).toMatchObject({ unit: '%', critical: '0.001' });
  });

  test('--nagios: one line, performance data, and a plugin’s exit codes', async () => {
    const ok = await run(file('redis.yaml', `redis: {url: "${servers.redisUrl}"}\n`), 'redis', 'backup', '--nagios');
    expect(ok).toMatchObject({ code: 0, stdout: 'KPIPE OK - redis ok; not configured: backup\n', stderr: '' });
    const critical = await run(file('away.yaml', away), 'redis', '--nagios');
    expect(critical.code).toBe(2);
    expect(critical.stdout).toMatch(/^KPIPE CRITICAL - redis: KPIPE_REDIS_UNREACHABLE [^\n]*\n$/);
    const perfdata = await run(file('bare.yaml', ''), 'brokers', '--nagios');
    expect(perfdata.stdout).toMatch(/ \| brokers_offline=\d+;;0 .*brokers_disk_1=[\d.]+%/);
  });

  test.each([
    [['nosuch', '--nagios'], 3, 'KPIPE UNKNOWN - KPIPE_USAGE there is no part nosuch to check\n', ''],
    [['rediss'], 2, '', 'did you mean redis?'],
    [['--nagios', '--json'], 3, 'KPIPE UNKNOWN - ', ''],
  ])('refuses %j with exit %i', async (args, code, stdout, stderr) => {
    const ended = await run(file('bare.yaml', ''), ...args);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toContain(stdout);
    expect(ended.stderr).toContain(stderr);
  });
});
