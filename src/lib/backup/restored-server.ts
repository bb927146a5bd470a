import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { openRestored, recoveryState } from '../postgres/restored.ts';
import { poolEnd, type Pool } from '../postgres/pool.ts';
import type { ServerUser } from '../sandbox/directory.ts';
import { stopRecorded, type StartedProcess } from '../sandbox/processes.ts';
import { lastMeaningfulLine } from '../sandbox/log-tail.ts';
import type { BackupEntry } from './entry.ts';
import { outputOf, programEnvironment, run, start, type Workspace } from './programs.ts';
import {
  isolated,
  recoverySettings,
  settingsFromControlData,
  settingsText,
  type RecoveryPlan,
} from './recovery-settings.ts';
import { own } from './scratch.ts';
import type { PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';

/** Where a restored server runs from, and as whom. */
export interface ServerPlace {
  readonly workspace: Workspace;
  readonly data: string;
  /** Where the server's own configuration goes. */
  readonly settings: string;
  readonly wal: string;
  readonly socket: string;
  readonly user: ServerUser | undefined;
}

export interface RestoredServer {
  readonly pool: Pool;
  /** Ends the connections, and the server. */
  readonly stop: () => Promise<void>;
  /** Ends the connections only. */
  readonly leave: () => Promise<void>;
  readonly log: () => string;
}

/** Settings that make a server quick that nobody needs after a crash. */
const throwAway = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off', jit: 'off' };

/**
 * Starts a server on restored files, reachable by its socket only, with settings of its own: postgresql.conf and
 * pg_hba.conf of the backup are not read, and postgresql.auto.conf is set aside, as it may name a target or a primary.
 * @throws CheckFailed NO_START
 */
export async function startRestored(
  place: ServerPlace,
  entry: Pick<BackupEntry, 'bootstrapRole'>,
  programs: PostgresPrograms,
  plan: RecoveryPlan,
  options: { readonly durable: boolean; readonly signal: AbortSignal },
): Promise<RestoredServer> {
  const { workspace, data, socket, user } = place;
  const environment = programEnvironment(programs.bin);
  const control = await run(
    workspace,
    { name: 'pg_controldata', file: join(programs.bin, 'pg_controldata'), args: ['-D', data], environment, user },
    options.signal,
  );
  if (control.code !== 0) {
    throw new CheckFailed('NO_START', lastMeaningfulLine(control.output) ?? 'pg_control cannot be read');
  }
  const settings = {
    ...settingsFromControlData(control.output),
    ...isolated,
    ...recoverySettings(plan),
    ...(options.durable ? {} : throwAway),
    unix_socket_directories: socket,
    unix_socket_permissions: '0700',
    port: '5432',
    hba_file: join(place.settings, 'hba.conf'),
    ident_file: join(place.settings, 'ident.conf'),
    shared_buffers: '128MB',
    maintenance_work_mem: '256MB',
    max_wal_size: '4GB',
    restart_after_crash: 'off',
    lc_messages: 'C',
    log_timezone: 'UTC',
    timezone: 'UTC',
  };
  const config = join(place.settings, 'server.conf');
  writeOwned(config, settingsText(settings), user);
  writeOwned(settings.hba_file, 'local all all trust\n', user);
  writeOwned(settings.ident_file, '', user);
  writeOwned(join(data, 'recovery.signal'), '', user);
  writeOwned(join(data, 'postgresql.auto.conf'), '', user);
  rmSync(join(data, 'standby.signal'), { force: true });
  readdirSync(place.wal).forEach((name) => own(join(place.wal, name), user));
  const args = ['-D', data, `--config_file=${config}`];
  const started = start(workspace, { name: 'postgres', file: join(programs.bin, 'postgres'), args, environment, user });
  const pool = await openRestored(socket, entry.bootstrapRole, 'postgres');
  const end = poolEnd(pool);
  const server: RestoredServer = {
    pool,
    leave: end,
    stop: async () => {
      await end();
      await stopRecorded(workspace.paths, 'postgres', 'SIGINT', 60_000);
    },
    log: () => outputOf(started),
  };
  await serving(server, started, options.signal).catch(async (error: unknown) => {
    await server.stop();
    throw error;
  });
  return server;
}

/** Until it has read its control file and begins to recover; a server that ends before says why in its log. */
async function serving(server: RestoredServer, started: StartedProcess, signal: AbortSignal): Promise<void> {
  while (!/starting (?:archive|point-in-time|.*) recovery|database system is ready/.test(server.log())) {
    signal.throwIfAborted();
    if (started.hasEnded()) {
      throw new CheckFailed('NO_START', lastMeaningfulLine(server.log()) ?? 'the server ended without a word');
    }
    await sleep(50);
  }
}

/**
 * Waits until recovery has stopped at its target. A server that promoted itself, or that ended since the log ran out, has
 * not reached it. @throws CheckFailed TARGET_NOT_REACHED, NO_START
 */
export async function reachTarget(server: RestoredServer, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const log = server.log();
    if (
      /recovery ended before configured recovery target was reached|requested recovery stop point is before/.test(log)
    ) {
      throw new CheckFailed('TARGET_NOT_REACHED', lastMeaningfulLine(log) ?? 'recovery ended early');
    }
    if (/database system is shut down|aborting startup|shutting down due to startup process failure/.test(log)) {
      throw new CheckFailed('NO_START', lastMeaningfulLine(log) ?? 'the server ended while it recovered');
    }
    const state = await recoveryState(server.pool).catch(() => 'starting' as const);
    if (state === 'paused' || state === 'promoted') {
      if (!/recovery stopping (?:before|after)/.test(server.log())) {
        throw new CheckFailed('TARGET_NOT_REACHED', 'recovery ended without stopping at its target');
      }
      return;
    }
    await sleep(50);
  }
}

function writeOwned(path: string, text: string, user: ServerUser | undefined): void {
  if (existsSync(path)) {
    rmSync(path);
  }
  writeFileSync(path, text, { mode: 0o600 });
  chmodSync(path, 0o600);
  own(path, user);
}
