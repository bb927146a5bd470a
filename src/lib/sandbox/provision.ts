import type { SandboxPaths } from './directory.ts';
import { asSuperuser, type RunSql } from './health.ts';
import { REPLICATION_SLOT } from './postgres.ts';
import { readSecret } from './secrets.ts';
import type { SandboxState } from './types.ts';

/**
 * What the running primary needs besides initdb; every statement may be repeated. `kpipe` owns its database, may take
 * base backups and receive WAL (REPLICATION), see statistics (pg_monitor) and every table that a backup is compared with
 * (pg_read_all_data), close a segment and hold the standby's replay for that, and make the pipeline's least-privilege roles
 * (CREATEROLE) and databases beside its own (CREATEDB: measurements, restores). It is not a superuser.
 */
export async function provisionPrimary(paths: SandboxPaths, state: SandboxState): Promise<void> {
  await asSuperuser(paths, state.ports.postgresPrimary, 'postgres', async (run) => {
    await ensureRole(run, 'kpipe', 'LOGIN REPLICATION CREATEROLE CREATEDB', readSecret(paths, 'postgres-kpipe'));
    await ensureRole(run, 'replicator', 'LOGIN REPLICATION', readSecret(paths, 'postgres-replication'));
    await run('GRANT pg_monitor, pg_read_all_data TO kpipe');
    const database = await run("SELECT 1 FROM pg_database WHERE datname = 'kpipe'");
    if (database.length === 0) {
      await run('CREATE DATABASE kpipe OWNER kpipe');
    }
    const slot = await run(`SELECT 1 FROM pg_replication_slots WHERE slot_name = '${REPLICATION_SLOT}'`);
    if (slot.length === 0) {
      await run(`SELECT pg_create_physical_replication_slot('${REPLICATION_SLOT}', true)`);
    }
  });
  // Rights on functions belong to one database.
  await asSuperuser(paths, state.ports.postgresPrimary, 'kpipe', (run) =>
    run('GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_wal_replay_pause(), pg_wal_replay_resume() TO kpipe'),
  );
}

/** Passwords are hexadecimal (secrets.ts), so they can stand in the statement; the server stores the SCRAM verifier only. */
async function ensureRole(run: RunSql, role: string, attributes: string, password: string): Promise<void> {
  const rows = await run(`SELECT 1 FROM pg_roles WHERE rolname = '${role}'`);
  if (rows.length === 0) {
    await run(`CREATE ROLE ${role} ${attributes} PASSWORD '${password}'`);
  }
}
