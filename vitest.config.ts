import { randomUUID } from 'node:crypto';

import { defineConfig } from 'vitest/config';

/**
 * Every process that a test starts inherits this mark in its environment; test/support/leaked-processes.ts looks for it
 * in /proc when the run ends. The workers themselves are started without it.
 */
const runId = randomUUID();

const leaks = 'test/support/leaked-processes.ts';
const servers = 'test/support/servers.ts';

const shared = {
  // Properties over thousands of cases take as long as the machine is busy; nothing is decided by time.
  testTimeout: 60_000,
  env: { KPIPE_TEST_RUN: runId, NO_COLOR: '1' },
  pool: 'forks',
  restoreMocks: true,
} as const;

/** Tests with processes and servers: few at once on two cores, and with time to wait for a condition. */
const onServers = {
  ...shared,
  globalSetup: [servers, leaks],
  testTimeout: 180_000,
  hookTimeout: 180_000,
  maxWorkers: 2,
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          globalSetup: [leaks],
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'ui',
          include: ['test/ui/**/*.test.{ts,tsx}'],
          globalSetup: [leaks],
          sequence: { groupOrder: 0 },
        },
      },
      { test: { ...onServers, name: 'cli', include: ['test/cli/**/*.test.ts'], sequence: { groupOrder: 1 } } },
      {
        test: {
          ...onServers,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...onServers,
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          testTimeout: 300_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
