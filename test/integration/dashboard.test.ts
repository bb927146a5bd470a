import { expect, inject, test, vi } from 'vitest';

import { loadConfig, type Config } from '../../src/lib/config/load.ts';
import { DashboardPaces, dashboardParts } from '../../src/lib/dashboard/paces.ts';
import { watchDashboard, type DashboardState } from '../../src/lib/dashboard/watch.ts';
import { uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');

function configuration(): Config {
  return loadConfig({ file: servers.config, cwd: process.cwd(), env: process.env });
}

/** Looks at everything until the state is as it should be. */
async function watchUntil(config: Config, check: (state: DashboardState) => void): Promise<void> {
  const paces = new DashboardPaces(200);
  paces.show(dashboardParts);
  const leave = new AbortController();
  let state: DashboardState | undefined;
  const target = { role: null, group: uniqueTopic('dashboard'), topic: null, positionsIn: 'group' } as const;
  const options = { targets: [target], processes: ['http://127.0.0.1:2'], paces, now: Date.now };
  const watching = watchDashboard(config, options, (now) => (state = now), leave.signal);
  try {
    await vi.waitFor(() => check(state!), { timeout: 60_000, interval: 100 });
  } finally {
    leave.abort();
    await watching;
  }
}

test('given servers that answer, when all of them are looked at, then every part has a report', async () => {
  await watchUntil(configuration(), (state) => {
    expect(state.lag.report?.roles).toHaveLength(1);
    expect(state.lag.report?.cost.requests).toBeGreaterThan(0);
    expect(state.brokers.report?.brokers.filter(({ state: of }) => of === 'up')).toHaveLength(servers.brokers.length);
    expect(state.topics).toMatchObject({ failure: null, failedLooks: expect.any(Number) as unknown });
    expect(state.topics.report?.overMs).toBeGreaterThan(0);
    expect(state.replica?.report?.standbys).toHaveLength(1);
    expect(state.stores?.report?.parts.map(({ part }) => part)).toEqual(['redis', 'bigquery']);
    expect(state.processes?.report?.processes[0]?.reasons[0]).toMatch(/ECONNREFUSED/);
    expect(state.backup).toBeNull();
  });
});

test('given a cluster that is away, then only what lives in it is not known, and why', async () => {
  const config = configuration();
  await watchUntil({ ...config, kafka: { ...config.kafka, brokers: ['127.0.0.1:1'] } }, (state) => {
    for (const part of [state.lag, state.brokers, state.topics]) {
      expect(part.report).toBeNull();
      expect(part.failedLooks).toBeGreaterThan(0);
      expect(part.failure).toMatch(/127\.0\.0\.1:1|broker/);
    }
    expect(state.replica?.report?.standbys).toHaveLength(1);
  });
});

test('given no PostgreSQL, no Redis and no BigQuery in kpipe.yaml, then those parts are not there, and the others are', async () => {
  const without = { postgres: undefined, redis: undefined, bigquery: undefined };
  await watchUntil({ ...configuration(), ...without }, (state) => {
    expect(state).toMatchObject({ replica: null, backup: null, stores: null });
    expect(state.lag.report).not.toBeNull();
  });
});

test('given backups whose keys cannot be had, then that is the backups’ failure', async () => {
  const config = configuration();
  const postgres = config.postgres!;
  const key = {
    reveal: (): string => {
      throw new Error('the key cannot be read');
    },
  };
  const backups = { signing: { key } } as unknown as NonNullable<typeof postgres.backups>;
  await watchUntil({ ...config, postgres: { ...postgres, backups } }, (state) => {
    expect(state.backup).toMatchObject({ report: null, failure: 'the key cannot be read' });
    expect(state.lag.report).not.toBeNull();
  });
});
