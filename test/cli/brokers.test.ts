import { describe, expect, inject, test } from 'vitest';

import type { CheckedBrokerReport } from '../../src/lib/health/watch-cluster.ts';
import { kpipe } from '../support/run-kpipe.ts';

const servers = inject('servers');
const brokers = (...args: readonly string[]) => kpipe(['brokers', '--config', servers.config, ...args]);

describe('kpipe brokers', () => {
  test('prints one JSON document', async () => {
    const { code, stdout, stderr } = await brokers('--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout) as CheckedBrokerReport;
    expect(Object.keys(report)).toEqual([
      'observedAt',
      'clusterId',
      'controller',
      'brokers',
      'partitions',
      'ok',
      'problems',
      'notes',
      'failed',
      'unjudged',
    ]);
    expect(report.brokers.map(({ id, state, address }) => ({ id, state, address }))).toEqual(
      servers.brokers.map((address, index) => ({ id: index + 1, state: 'up', address })),
    );
    expect(report.controller.voters).toHaveLength(3);
    expect(report.brokers.filter(({ controller }) => controller).map(({ id }) => id)).toEqual([
      report.controller.leader,
    ]);
    const leaders = report.brokers.reduce((sum, broker) => sum + broker.leaders, 0);
    expect(leaders + report.partitions.offline).toBe(report.partitions.partitions);
    expect(report.brokers[0]?.logDirectories[0]).toMatchObject({
      reason: null,
      fullInMs: null,
      forecastReason: 'seen only once: growth needs two looks',
    });
  });

  test('prints tables for people; growth with --forecast', async () => {
    const { code, stdout } = await brokers('--forecast', '--for', '1500ms');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cluster \S+ {2}controller [123], epoch \d+, voters 1 2 3$/m);
    expect(stdout).toMatch(/^BROKER +ADDRESS +KAFKA +LEADERS +PREFERRED +REPLICAS +OUT OF SYNC +SIZE +STATUS$/m);
    expect(stdout).toMatch(/^BROKER +LOG DIRECTORY .* GROWTH\/s +OTHER\/s +SETTLES AT +FULL IN$/m);
    expect(stdout).toMatch(/^\d+ partitions of \d+ topics: /m);
  });

  test('exits 3 when a condition holds, and says what could not be judged', async () => {
    const { code, stdout } = await brokers('--fail-on', 'used>=0,free<1B', '--json');
    expect(code).toBe(3);
    expect((JSON.parse(stdout) as CheckedBrokerReport).failed).toHaveLength(3);
    const once = await brokers('--fail-on', 'full<1ms,down>0', '--for', '0s');
    expect(once.code).toBe(0);
    expect(once.stderr).toContain('cannot judge full<1ms for 1 ');
  });

  test('--watch prints a line an interval', async () => {
    const { code, stdout } = await brokers('--watch', '--interval', '300ms', '--for', '6s');
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as CheckedBrokerReport);
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(lines[0]?.partitions.isrShrinks).toBeNull();
    expect(lines.at(-1)?.partitions.isrShrinks).toEqual(expect.any(Number));
  });

  test.each([
    [['--fail-on', 'offlin>0'], 2, 'KPIPE_USAGE --fail-on: not a condition: offlin>0'],
    [['--watch', '--json'], 2, 'KPIPE_USAGE --watch prints many documents'],
  ])('refuses %j with exit %i', async (args, code, message) => {
    const ended = await brokers(...args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(message);
  });
});
