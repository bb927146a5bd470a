import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { KpipeError } from '../errors.ts';
import { lastReplayedAt, promote, restoredPositions, withRestored } from '../postgres/restored.ts';
import type { ServerUser } from '../sandbox/directory.ts';
import { postgresUser } from '../sandbox/postgres.ts';
import { findBackup } from './catalogue.ts';
import type { BackupEntry } from './entry.ts';
import { chainOf, type Chain } from './chain.ts';
import { combineChain, combinedBytes, extractChain, linksDirectory } from './combine.ts';
import { formatLsn } from './lsn.ts';
import { withBackupLock, type BackupPlace } from './place.ts';
import { isolated, recoverySettings, settingsText, type RecoveryPlan } from './recovery-settings.ts';
import { freeBytesAt } from './free-bytes.ts';
import { reachTarget, startRestored, type RestoredServer } from './restored-server.ts';
import {
  describeTarget,
  gapOf,
  lsnOf,
  neededLsn,
  positionsFile,
  positionsText,
  recoveryTarget,
  refuseUnsuitable,
  startCommand,
  type RestorePlan,
  type RestoreResult,
  type RestoreTarget,
} from './restore-plan.ts';
import { makeScratch, own, sweepScratch, tearDown, type Scratch } from './scratch.ts';
import { requirePrograms, type PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';
import { sealFinished } from './wal-archive.ts';
import { proveWal, type WalProof } from './wal-check.ts';

export interface RestoreRequest {
  readonly id: string | undefined;
  readonly directory: string;
  readonly target: RestoreTarget;
  readonly promote: boolean;
  readonly scratchRoot: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly report: (step: string) => void;
}

/**
 * Restores into an empty directory, after `confirm` has seen the plan; false only plans. The server is started on its
 * socket only, recovers exactly to the target, and is stopped again: what stands there is checked, and is yours to start.
 * @throws KPIPE_REFUSED, KPIPE_BACKUP_FAILED with the code of what is wrong with the backup or the archive
 */
export async function restoreBackup(
  place: BackupPlace,
  request: RestoreRequest,
  confirm: (plan: RestorePlan) => Promise<boolean>,
): Promise<RestoreResult> {
  const { entry, signatureValid, id } = await findBackup(place, request.id);
  if (!signatureValid) {
    throw new KpipeError('KPIPE_REFUSED', `SIGNATURE: the entry of ${id} is not what this key signed`, {
      next: `kpipe backup verify ${id}`,
    });
  }
  const directory = resolve(request.directory);
  const user = postgresUser();
  refuseUnsuitable(directory, user);
  return withBackupLock(place.local, `verify-${id}`, async () => {
    await sweepScratch(request.scratchRoot);
    const programs = requirePrograms(Number.parseInt(entry.postgresVersion, 10), request.environment);
    const scratch = makeScratch(request.scratchRoot);
    try {
      const chain = await chainOf(place, entry);
      const restoration = new Restoration(place, request, { entry, chain, directory, user, programs, scratch });
      const plan = await restoration.plan();
      return (await confirm(plan)) ? await restoration.carryOut(plan) : restoration.onlyPlanned(plan);
    } catch (error) {
      throw error instanceof CheckFailed
        ? new KpipeError('KPIPE_BACKUP_FAILED', `${error.code}: ${error.message}`, {
            next: `kpipe backup verify ${id} looks at everything`,
            where: { check: error.code },
            cause: error,
          })
        : error;
    } finally {
      await tearDown(scratch.directory);
    }
  });
}

interface Means {
  readonly entry: BackupEntry;
  /** What is restored: the entry and all that it is an increment of. */
  readonly chain: Chain;
  readonly directory: string;
  readonly user: ServerUser | undefined;
  readonly programs: PostgresPrograms;
  readonly scratch: Scratch;
}

class Restoration {
  readonly #place: BackupPlace;
  readonly #request: RestoreRequest;
  readonly #means: Means;
  /** Everything is written here first; the directory itself appears when it is whole. */
  readonly #building: string;

  constructor(place: BackupPlace, request: RestoreRequest, means: Means) {
    this.#place = place;
    this.#request = request;
    this.#means = means;
    this.#building = `${means.directory}.kpipe-restore`;
  }

  async plan(): Promise<RestorePlan> {
    const { entry, chain, directory, scratch, programs } = this.#means;
    const { target } = this.#request;
    this.#request.report('reading the archive from the backup to its tail');
    await sealFinished(this.#place);
    const wanted = neededLsn(entry, target);
    const proof = await this.#prove(wanted, programs, scratch);
    return {
      backupId: entry.id,
      chain: chain.map(({ id }) => id),
      completedAt: entry.completedAt,
      directory,
      target: describeTarget(target, proof),
      segments: proof.segments,
      tailLsn: formatLsn(proof.tailLsn),
      clusterBytes: entry.clusterBytes,
      promote: this.#request.promote,
    };
  }

  /** `neededLsn` far away keeps every segment: the target may be any of them. */
  #prove(wanted: bigint, programs: PostgresPrograms, scratch: Scratch): Promise<WalProof> {
    const { entry } = this.#means;
    const tools = { place: this.#place, programs, workspace: scratch.workspace, signal: this.#request.signal };
    return proveWal(tools, {
      timeline: entry.timeline,
      segmentBytes: entry.segmentBytes,
      startLsn: lsnOf(entry.startLsn),
      neededLsn: wanted,
      keepAll: true,
      directory: scratch.wal,
    });
  }

  onlyPlanned(plan: RestorePlan): RestoreResult {
    const { programs, directory, user } = this.#means;
    return {
      done: false,
      plan,
      reachedLsn: null,
      lastCommitAt: null,
      rtoMs: null,
      positions: [],
      gap: [],
      startCommand: startCommand(programs, directory, user),
    };
  }

  async carryOut(plan: RestorePlan): Promise<RestoreResult> {
    const { directory } = this.#means;
    const began = performance.now();
    this.#clear(this.#building);
    try {
      await this.#extract();
      const found = await this.#recover(plan);
      this.#writeSettings(plan);
      rmSync(directory, { recursive: true, force: true });
      renameSync(this.#building, directory);
      for (const [role, positions] of Map.groupBy(found.positions, (position) => position.role)) {
        writeFileSync(positionsFile(directory, role), positionsText(positions));
      }
      return {
        ...this.onlyPlanned(plan),
        ...found,
        done: true,
        rtoMs: Math.round(performance.now() - began),
        gap: gapOf(found.positions, directory),
      };
    } catch (error) {
      this.#clear(this.#building, `${directory}-tablespaces`, `${directory}-wal`);
      throw error;
    }
  }

  #clear(...paths: readonly string[]): void {
    [linksDirectory({ data: this.#building }), ...paths].forEach((path) =>
      rmSync(path, { recursive: true, force: true }),
    );
  }

  async #extract(): Promise<void> {
    const { chain, directory, user, programs, scratch } = this.#means;
    const { signal, report } = this.#request;
    report('restoring the files');
    mkdirSync(this.#building, { recursive: true, mode: 0o700 });
    own(this.#building, user);
    const free = await freeBytesAt(this.#building);
    const needed = combinedBytes(chain);
    if (free < needed * 1.05) {
      throw new CheckFailed('NO_SPACE', `${dirname(directory)} has ${free} bytes left, the cluster needs ${needed}`);
    }
    const target = { data: this.#building, tablespaces: `${directory}-tablespaces`, user };
    await extractChain(this.#place, chain, { target, signal });
    if (chain.length > 1) {
      report(`making one cluster of ${chain.length} links`);
      await combineChain({ programs, workspace: scratch.workspace, signal }, chain, target, true);
    }
  }

  async #recover(plan: RestorePlan): Promise<Pick<RestoreResult, 'reachedLsn' | 'lastCommitAt' | 'positions'>> {
    const { entry, programs, scratch, user } = this.#means;
    this.#request.report(`recovering to ${plan.target.text}`);
    // Set aside: the server that recovers gets an empty one, and it comes back with our lines at its end.
    const automatic = readText(join(this.#building, 'postgresql.auto.conf'));
    const serverPlace = { ...scratch, data: this.#building, settings: scratch.directory };
    const server = await startRestored(serverPlace, entry, programs, this.#recoveryPlan(plan, scratch.wal), {
      durable: true,
      signal: this.#request.signal,
    });
    try {
      await reachTarget(server, this.#request.signal);
      const found = await this.#lookInside(server);
      if (plan.promote) {
        await promote(server.pool);
      }
      return found;
    } finally {
      await server.stop();
      writeFileSync(join(this.#building, 'postgresql.auto.conf'), automatic, { mode: 0o600 });
      own(join(this.#building, 'postgresql.auto.conf'), user);
    }
  }

  async #lookInside(server: RestoredServer): Promise<Pick<RestoreResult, 'reachedLsn' | 'lastCommitAt' | 'positions'>> {
    const { entry, scratch } = this.#means;
    const { rows } = await server.pool.query<{ lsn: string }>('select pg_last_wal_replay_lsn()::text as lsn');
    const lastCommitAt = await lastReplayedAt(server.pool);
    const positions = await withRestored(scratch.socket, entry.bootstrapRole, entry.database, restoredPositions);
    return { reachedLsn: rows[0]?.lsn ?? null, lastCommitAt: lastCommitAt?.toISOString() ?? null, positions };
  }

  #recoveryPlan(plan: RestorePlan, walDirectory: string): RecoveryPlan {
    return { target: recoveryTarget(plan), timeline: this.#means.entry.timeline, action: 'pause', walDirectory };
  }

  /** For whoever starts it: no archive, no primary, nobody to wait for; and, unless promoted, the same target again. */
  #writeSettings(plan: RestorePlan): void {
    const { directory, scratch, user } = this.#means;
    const automatic = join(this.#building, 'postgresql.auto.conf');
    const cutOff = Object.entries(isolated).filter(([name]) =>
      /^(archive_|primary_|synchronous_standby_names|recovery_end)/.test(name),
    );
    const walDirectory = `${directory}-wal`;
    const recovery = plan.promote ? {} : recoverySettings(this.#recoveryPlan(plan, walDirectory));
    appendFileSync(
      automatic,
      `\n# written by kpipe backup restore: switch the archive on again (kpipe backup run), and standbys\n${settingsText({ ...Object.fromEntries(cutOff), ...recovery })}`,
    );
    if (!plan.promote) {
      rmSync(walDirectory, { recursive: true, force: true });
      mkdirSync(walDirectory, { mode: 0o700 });
      own(walDirectory, user);
      for (const name of readdirSync(scratch.wal)) {
        copyFileSync(join(scratch.wal, name), join(walDirectory, name));
        own(join(walDirectory, name), user);
      }
      writeFileSync(join(this.#building, 'recovery.signal'), '', { mode: 0o600 });
      own(join(this.#building, 'recovery.signal'), user);
    }
    this.#writeMissingConfiguration();
  }

  /** Where the distribution keeps the configuration elsewhere (Debian), the backup holds none. */
  #writeMissingConfiguration(): void {
    const { user, scratch } = this.#means;
    // What a recovery must not have less of than the primary had, as the server that recovered had it.
    const needed = readText(join(scratch.directory, 'server.conf'))
      .split('\n')
      .filter((line) => /^(?:max_(?:connections|worker|wal_senders|prepared|locks)|wal_level)/.test(line));
    const access = 'local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n';
    const files = { 'postgresql.conf': `${needed.join('\n')}\n`, 'pg_hba.conf': access, 'pg_ident.conf': '' };
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.#building, name);
      if (!existsSync(path)) {
        writeFileSync(path, `# written by kpipe backup restore: the backup held none\n${text}`, { mode: 0o600 });
        own(path, user);
      }
    }
  }
}

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
