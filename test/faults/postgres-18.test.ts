/**
 * The pipeline on PostgreSQL 18, where the rest of the tests run on the machine's own: the schema, both roles through a
 * kill, the accounts, and what a primary and its standby say of each other.
 */
import { describe, expect, inject, test, vi } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { lookAtReplicas } from '../../src/lib/replication/look.ts';
import type { ReplicaReport } from '../../src/lib/replication/report.ts';
import type { VerifyResult } from '../../src/lib/verify/verify.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker, logMaker } from '../support/fault-records.ts';
import { killAndCheck } from '../support/kill-rounds.ts';
import { withPostgres } from '../support/own-postgres.ts';
import { ifSkipped, postgres18, versionOf18 } from '../support/postgres-18.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';

const partitions = 2;

describe.skipIf(postgres18 === undefined)('the pipeline on PostgreSQL 18', async () => {
  test(`given set-up has brought it, then it is one${ifSkipped}`, () => {
    expect(versionOf18()).toMatch(/^postgres \(PostgreSQL\) 18\./);
  });
  if (postgres18 === undefined) {
    return;
  }
  const cluster = await clusterOfFile({ postgres: postgres18, checksums: 'default' });
  const servers = withPostgres(inject('servers'), cluster);
  const roles = [
    { pipeline: await faultPipeline({ role: 'events', partitions, servers }), maker: eventMaker },
    { pipeline: await faultPipeline({ role: 'logs', partitions, servers }), maker: logMaker },
  ] as const;

  test.each(roles)(
    'given role $pipeline.role, killed while it writes, when it has caught up, then each record has one effect, and the accounts balance',
    async ({ pipeline, maker }) => {
      const [server] = (await pipeline.database.query<{ server_version: string }>('show server_version')).rows;
      expect(server?.server_version).toMatch(/^18\./);

      const done = await killAndCheck({ pipeline, maker, seed: 18, rounds: 1, recordsPerRound: 600 });
      expect(done.stored).toBeGreaterThan(0);

      const verified = await pipeline.kpipe('verify', pipeline.role, '--deep', '--json');
      expect(verified).toMatchObject({ code: 0 });
      const { balanced, findings, stretches } = JSON.parse(verified.stdout) as VerifyResult;
      expect({ balanced, findings }).toEqual({ balanced: true, findings: [] });
      const stored = stretches.reduce((sum, stretch) => sum + stretch.stored, 0);
      const table = pipeline.role === 'events' ? 'kpipe.events' : 'kpipe.logs';
      const [counted] = (
        await pipeline.database.query<{ rows: number }>(`select count(*)::int as rows from ${table} where topic = $1`, [
          pipeline.topic,
        ])
      ).rows;
      expect(counted?.rows).toBe(stored);
    },
  );

  test('given a standby that replays, when both ends are asked, then each figure is there and nothing is wrong', async () => {
    const url = cluster.superuser;
    const text = JSON.stringify({
      pipeline: 'test',
      kafka: { brokers: ['localhost:1'] },
      postgres: {
        primary: url(),
        replicas: [{ name: 'replica1', url: url(cluster.standby.port) }],
      },
    });
    const config = parseConfig(text, '/dev/null/kpipe.yaml', process.env);
    let report: ReplicaReport | undefined;
    await vi.waitUntil(
      async () => {
        report = await lookAtReplicas(config, config.postgres!, { probe: true, conditions: [] });
        return report.ok && report.standbys[0]?.replayBytes === 0;
      },
      { timeout: 60_000, interval: 100 },
    );
    expect(report).toMatchObject({ problems: [], primary: { reachable: true, timeline: 1, inRecovery: false } });
    expect(report?.primary.version).toMatch(/^18\./);
    expect(report?.standbys).toMatchObject([
      {
        name: 'replica1',
        state: 'streaming',
        upstream: 'primary',
        timeline: 1,
        systemIdentifier: report?.primary.systemIdentifier,
        receiver: { status: 'streaming' },
        conflicts: { total: 0 },
      },
    ]);
    expect(report?.standbys[0]?.probeMs).toBeGreaterThan(0);
  });
});
