import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import type { GateReport } from '../../src/lib/health/gate.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

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

describe('kpipe check lag', () => {
  const kafka = new kafkajs.Kafka({
    brokers: [...servers.brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 10 },
  });
  const admin = kafka.admin();
  const topic = uniqueTopic('gate');
  const group = uniqueTopic('gate-group');
  const hourMs = 3_600_000;
  const roles = `roles: {analytics: {topic: ${topic}, group: ${group}, deadLetters: ${topic}.dlq}}\n`;
  const role = `${roles}bigquery: {project: kpipe-local, dataset: gate}\n`;

  beforeAll(async () => {
    await admin.connect();
    const configEntries = [{ name: 'retention.ms', value: String(24 * hourMs) }];
    await admin.createTopics({
      topics: [{ topic, numPartitions: 1, replicationFactor: 1, configEntries }],
      waitForLeaders: true,
    });
    await topicsEverywhere(loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka, [topic]);
    const producer = kafka.producer();
    await producer.connect();
    const timestamp = String(Date.now() - 20 * hourMs);
    await producer.send({ topic, messages: Array.from({ length: 9 }, (_, at) => ({ value: `${at}`, timestamp })) });
    await producer.disconnect();
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '2' }] });
  });

  afterAll(async () => {
    await admin.deleteGroups([group]);
    await admin.deleteTopics({ topics: [topic] });
    await admin.disconnect();
  });

  test('judges the time behind and the time until loss by alerts.lag; exit 3', async () => {
    const config = file('strict.yaml', `${role}alerts: {lag: {time: 1h, lossIn: 6h}}\n`);
    const { code, stdout } = await run(config, 'lag', '--json');
    expect(code).toBe(3);
    const [part] = (JSON.parse(stdout) as GateReport).parts;
    expect(part).toMatchObject({ part: 'lag', state: 'fail', detail: '1 group, 7 records behind' });
    expect(part?.findings.map(({ level, detail, next }) => [level, detail, next])).toEqual([
      ['fail', expect.stringMatching(/^analytics is 20h\S* behind \(alert 1h\)$/), 'kpipe lag analytics'],
      ['fail', expect.stringMatching(/^analytics loses records in 3h\S* \(alert 6h\)$/), 'kpipe lag analytics'],
      ['fail', expect.stringMatching(/^analytics stop: .*no member reads it/), 'kpipe lag analytics'],
    ]);
  });

  test('--nagios says the same as critical, with each figure and its alert', async () => {
    const config = file('strict.yaml', `${role}alerts: {lag: {time: 1h, lossIn: 6h}}\n`);
    const { code, stdout } = await run(config, 'lag', '--nagios');
    expect(code).toBe(2);
    expect(stdout).toMatch(/^KPIPE CRITICAL - lag: analytics is 20h[^\n]*\n$/);
    const figures =
      / \| lag_analytics_records=7 lag_analytics_time=(\d[\d.]*)s;;3600 lag_analytics_loss_in=(\d[\d.]*)s;;21600:$/m;
    const [, behind, lossIn] = figures.exec(stdout) ?? [];
    expect(Number(behind)).toBeGreaterThan((20 * hourMs) / 1000 - 1);
    expect(Number(lossIn)).toBeLessThan((4 * hourMs) / 1000 + 1);
    expect(Number(behind) + Number(lossIn)).toBeCloseTo((24 * hourMs) / 1000, 0);
  });
});
