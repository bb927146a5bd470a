import { describe, expect, inject, test } from 'vitest';

import { kpipe } from '../support/run-kpipe.ts';

const servers = inject('servers');
const latency = (...args: readonly string[]) => kpipe(['latency', '--config', servers.config, ...args]);

describe('kpipe latency', () => {
  test('prints one JSON document; exit 3 when a condition holds', async () => {
    const { code, stdout } = await latency('--count', '5', '--rate', '50/s', '--json', '--fail-on', 'lost>=0,lost>5');
    expect(code).toBe(3);
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual([
      'observedAt',
      'clusterId',
      'topic',
      'role',
      'probes',
      'partitions',
      'ratePerSec',
      'lostAfterMs',
      'stages',
      'problems',
      'failed',
    ]);
    expect(document).toMatchObject({
      role: null,
      probes: 5,
      ratePerSec: 50,
      lostAfterMs: 20_000,
      stages: [
        { stage: 'ack', measured: 5, lost: 0 },
        { stage: 'consume', measured: 5, lost: 0 },
      ],
      failed: [{ condition: 'lost>=0', actual: '0' }],
    });
  });

  test('prints a table and histograms for people', async () => {
    const { code, stdout } = await latency('--count', '5', '--rate', '50/s', '--check');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^5 probes at 50\/s through a topic of its own {2}3 partitions, acks=all\nPRODUCE → +p50 +p99 +MAX +MEASURED +LOST\nack /,
    );
    expect(stdout).toMatch(/^consume +≤ .* █+ \d+$/m);
  });

  test.each([
    [['--rate', 'fast'], 2, 'KPIPE_USAGE --rate: fast is not a rate'],
    [['--fail-on', 'ack>50'], 2, 'KPIPE_USAGE --fail-on: not a condition: ack>50'],
    [['--role', 'events'], 4, 'KPIPE_REFUSED role events does not run'],
  ])('refuses %j with exit %i', async (args, code, message) => {
    const ended = await latency(...args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(message);
  });
});
