import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { kindOfFailure } from '../../src/lib/postgres/failures.ts';
import { migrateDatabase } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { probePostgres } from '../../src/lib/postgres/probe.ts';
import { lookAtReplicas } from '../../src/lib/replication/look.ts';
import { certificates } from '../support/certificates.ts';
import { replicationCluster, type PostgresServer } from '../support/replication-cluster.ts';

/** A server that takes its users over TLS only, with certificates that this test has made. */
const cluster = replicationCluster();
const { file, makeAuthority, makeCertificate } = certificates(cluster.directory);
let primary: PostgresServer;

/** The certificate that the server shows from now on. */
async function present(name: string): Promise<void> {
  primary.configure({ ssl: 'on', ssl_cert_file: file(`${name}.pem`), ssl_key_file: file(`${name}.key`) });
  await primary.reload();
  await primary.waitFor(`select current_setting('ssl_cert_file') = $1`, [file(`${name}.pem`)]);
}

function configOf(parameters: string): Config {
  const url = `postgres://secured@127.0.0.1:${primary.port}/postgres${parameters}`;
  const text = JSON.stringify({ pipeline: 'test', kafka: { brokers: ['localhost:1'] }, postgres: { primary: url } });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env);
}

const verified = (authority: string): string => `?sslmode=verify-full&sslrootcert=${file(`${authority}.pem`)}`;
const probe = (parameters: string) => probePostgres(configOf(parameters).postgres!.primary, 5000);

beforeAll(async () => {
  primary = await cluster.primary();
  makeAuthority('authority');
  makeAuthority('stranger');
  makeCertificate('right', 'authority', 'IP:127.0.0.1');
  makeCertificate('elsewhere', 'authority', 'DNS:db.example.org');
  await primary.query('create role secured superuser login');
  const hba = join(primary.directory, 'pg_hba.conf');
  const rules = readFileSync(hba, 'utf8');
  writeFileSync(hba, 'hostnossl all secured all reject\n');
  appendFileSync(hba, rules);
  await present('right');
});

describe('sslmode=verify-full', () => {
  test('with the CA that signed the certificate: everything goes encrypted', async () => {
    const facts = await probe(verified('authority'));
    expect(facts).toMatchObject({ encrypted: true, user: 'secured' });
    const config = configOf(verified('authority'));
    const steps = await migrateDatabase(config.postgres!, {
      projections: [],
      logRetentionMs: 86_400_000,
      nowMs: Date.now(),
      planOnly: false,
    });
    expect(steps.length).toBeGreaterThan(0);
    const report = await lookAtReplicas(config, config.postgres!, { probe: false, conditions: [] });
    expect(report).toMatchObject({ ok: true, primary: { reachable: true } });
  });

  test.each([
    ['of another CA', 'stranger', 'right'],
    ['for another host', 'authority', 'elsewhere'],
  ])('a certificate %s is refused, by doctor’s probe, by a pool and by the roles', async (_what, authority, shown) => {
    await present(shown);
    await expect(probe(verified(authority))).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_UNTRUSTED' });
    const config = configOf(verified(authority));
    await expect(
      migrateDatabase(config.postgres!, { projections: [], logRetentionMs: 1, nowMs: 0, planOnly: true }),
    ).rejects.toMatchObject({
      code: 'KPIPE_POSTGRES_UNTRUSTED',
      exitCode: 1,
      where: { host: `127.0.0.1:${primary.port}` },
      next: expect.stringContaining('sslrootcert') as string,
    });
    const pool = await openPool(config.postgres!, { applicationName: 'test-tls' });
    const refusal: unknown = await pool.query('select 1').catch((error: unknown) => error);
    await pool.end();
    // No use in trying again: a role stops instead of waiting for ever.
    expect(kindOfFailure(refusal)).toBe('configuration');
    await present('right');
  });
});

test('who asks for no TLS is turned away by the server, and told so', async () => {
  await expect(probe('')).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_UNREACHABLE', where: { sqlstate: '28000' } });
});

test('who asks a server without TLS for it is not served in the clear', async () => {
  primary.configure({ ssl: 'off' });
  await primary.reload();
  await primary.waitFor(`select current_setting('ssl') = 'off'`);
  await expect(probe(verified('authority'))).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_FAILED' });
  const config = configOf(verified('authority'));
  await expect(lookAtReplicas(config, config.postgres!, { probe: false, conditions: [] })).rejects.toThrow(/SSL|TLS/);
});
