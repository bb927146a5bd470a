import { hostname } from 'node:os';

import { KpipeError, messageOf } from '../errors.ts';
import { readPrimaryPosition, withBackupPool } from '../postgres/backup-source.ts';
import { promote } from '../postgres/restored.ts';
import { formatDuration } from '../config/units.ts';
import { findBackup, type KnownBackup } from './catalogue.ts';
import type { BackupEntry } from './entry.ts';
import { chainOf, type Chain } from './chain.ts';
import { combineChain, combinedBytes, extractChain } from './combine.ts';
import { freeBytesAt } from './free-bytes.ts';
import { signDocument } from './keys.ts';
import { formatLsn, parseLsn } from './lsn.ts';
import { withBackupLock, type BackupPlace } from './place.ts';
import { reachTarget, startRestored, type RestoredServer } from './restored-server.ts';
import { keepScratch, makeScratch, sweepScratch, tearDown, type Scratch } from './scratch.ts';
import { programsOf, type PostgresPrograms } from './tools.ts';
import { amcheck, askQueries, compareContent } from './verify-content.ts';
import {
  CheckFailed,
  checksOfLevel,
  failed,
  isGood,
  notJudged,
  passed,
  type BackupCheck,
  type CheckName,
  type VerifyLevel,
  type VerifyReport,
} from './verdict.ts';
import { sealFinished } from './wal-archive.ts';
import { proveWal, type WalProof } from './wal-check.ts';

export interface VerifyOptions {
  readonly level: VerifyLevel;
  readonly scratchRoot: string;
  readonly keep: boolean;
  readonly signal: AbortSignal;
  readonly environment: NodeJS.ProcessEnv;
  /** What is being proven now; `check` is null while it runs. */
  readonly report: (name: CheckName, check: BackupCheck | null) => void;
}

/**
 * Proves a backup, by restoring it. The checks build on each other: after one that failed, those that stand on it are not
 * made, and the backup is not good. @throws KPIPE_BACKUP_MISSING, KPIPE_LOCKED, KPIPE_INTERRUPTED
 */
export async function verifyBackup(
  place: BackupPlace,
  id: string | undefined,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const known = await findBackup(place, id);
  return withBackupLock(place.local, `verify-${known.id}`, async () => {
    await sweepScratch(options.scratchRoot);
    const scratch = makeScratch(options.scratchRoot);
    const verification = new Verification(place, known, options, scratch);
    let kept = false;
    try {
      const report = await verification.run();
      kept = report.kept !== null;
      await storeReport(place, report);
      return report;
    } finally {
      await verification.leave();
      if (!kept) {
        await tearDown(scratch.directory);
      }
    }
  });
}

async function storeReport({ repository }: BackupPlace, report: VerifyReport): Promise<void> {
  const stamp = report.verifiedAt.replaceAll(/[-:]|\.\d+/g, '');
  await repository.writeReport(
    report.backupId,
    `${stamp}-${report.level}.json`,
    `${JSON.stringify(report, null, 2)}\n`,
  );
}

class Verification {
  readonly #place: BackupPlace;
  readonly #known: KnownBackup;
  readonly #options: VerifyOptions;
  readonly #scratch: Scratch;
  readonly #checks: BackupCheck[] = [];
  /** What is restored; for a full backup itself. */
  #chain: Chain;
  #server: RestoredServer | undefined;
  #rtoMs: number | null = null;
  #rpoMs: number | null = null;

  constructor(place: BackupPlace, known: KnownBackup, options: VerifyOptions, scratch: Scratch) {
    this.#place = place;
    this.#known = known;
    this.#chain = [known.entry];
    this.#options = options;
    this.#scratch = scratch;
  }

  async run(): Promise<VerifyReport> {
    const { level, keep } = this.#options;
    const entry = this.#known.entry;
    if (await this.#check('signature', () => Promise.resolve(this.#signature()))) {
      await this.#prove(entry);
    }
    for (const name of checksOfLevel(level, entry.kind)) {
      if (!this.#checks.some((check) => check.name === name)) {
        this.#checks.push(notJudged(name, 'not reached: it stands on a check that failed'));
      }
    }
    const kept = keep && this.#server !== undefined ? this.#keep(entry) : null;
    return this.#report(kept);
  }

  /** Connections only: the server itself ends with its directory. */
  async leave(): Promise<void> {
    await this.#server?.leave();
  }

  async #prove(entry: BackupEntry): Promise<void> {
    const { level, environment, signal } = this.#options;
    const isWhole = entry.increment === null || (await this.#check('chain', () => this.#links(entry)));
    if (!isWhole || !(await this.#check('key', () => Promise.resolve(this.#key())))) {
      return;
    }
    const programs = programsOf(Number.parseInt(entry.postgresVersion, 10), environment);
    let proof: WalProof | undefined;
    const position = await this.#primaryPosition();
    await this.#check('wal', async () => {
      proof = await this.#wal(entry, programs);
      return `${proof.segments} segments, every record up to ${formatLsn(proof.tailLsn)}`;
    });
    if (proof !== undefined) {
      await this.#rpo(proof, position);
    }
    const began = performance.now();
    const whole = await this.#check('files', () => this.#files());
    if (level === 'manifest' || !whole || proof === undefined || programs === undefined) {
      return;
    }
    if (entry.increment !== null && !(await this.#check('combine', () => this.#combine(programs)))) {
      return;
    }
    if (!(await this.#check('start', () => this.#start(entry, programs)))) {
      return;
    }
    const server = this.#server;
    const recovered =
      server !== undefined &&
      (await this.#check('recover', async () => {
        await reachTarget(server, signal);
        this.#rtoMs = Math.round(performance.now() - began);
        return `stopped at ${targetOf(entry)}, ${formatDuration(this.#rtoMs)} after the first byte was restored`;
      }));
    if (level === 'full' && recovered) {
      await this.#contents(entry, programs, server);
    }
  }

  async #contents(entry: BackupEntry, programs: PostgresPrograms, server: RestoredServer): Promise<void> {
    const { signal } = this.#options;
    const { socket, workspace } = this.#scratch;
    const { queries } = this.#place.backups.verify;
    await this.#check('content', () => compareContent(entry, socket, signal));
    await this.#check('queries', () => askQueries(entry, queries, socket, signal));
    await this.#check('amcheck', async () => {
      // An index is compared with its table under a lock that a server in recovery does not give.
      await promote(server.pool);
      return amcheck(entry, programs, workspace, socket, signal);
    });
  }

  #signature(): string {
    if (!this.#known.signatureValid) {
      throw new CheckFailed('SIGNATURE', `the entry's signature is not that of key ${this.#place.keys.signing.id}`);
    }
    return `entry signed with key ${this.#place.keys.signing.id}`;
  }

  async #links(entry: BackupEntry): Promise<string> {
    this.#chain = await chainOf(this.#place, entry);
    const [full, ...increments] = this.#chain;
    return `the full backup ${full.id} and ${increments.length === 1 ? 'its increment' : `${increments.length} increments`}, each signed`;
  }

  #key(): string {
    const configured = this.#place.keys.encryption?.id.toString('hex') ?? null;
    const keys = new Set(this.#chain.flatMap(({ encryptionKeyId }) => encryptionKeyId ?? []));
    const other = [...keys].find((id) => id !== configured);
    if (other !== undefined) {
      throw new CheckFailed('KEY', `encrypted with key ${other}; kpipe.yaml names ${configured ?? 'none'}`);
    }
    return keys.size === 0 ? 'not encrypted' : `key ${configured ?? ''}`;
  }

  async #wal(entry: BackupEntry, programs: PostgresPrograms | undefined): Promise<WalProof> {
    if (programs === undefined) {
      throw new CheckFailed('NO_TOOLS', `PostgreSQL ${entry.postgresVersion} made it; its programs are not here`);
    }
    await sealFinished(this.#place);
    const { workspace, wal } = this.#scratch;
    return proveWal(
      { place: this.#place, programs, workspace, signal: this.#options.signal },
      {
        timeline: entry.timeline,
        segmentBytes: entry.segmentBytes,
        startLsn: lsn(entry.startLsn),
        neededLsn: lsn(entry.archivedLsn),
        directory: wal,
      },
    );
  }

  async #files(): Promise<string> {
    const { level, signal } = this.#options;
    const { data, tablespaces, user, directory } = this.#scratch;
    const restores = level !== 'manifest';
    const free = await freeBytesAt(directory);
    const needed = combinedBytes(this.#chain);
    if (restores && free < needed * 1.05) {
      throw new CheckFailed('NO_SPACE', `${directory} has ${free} bytes left, the cluster needs ${needed}`);
    }
    const { files, bytes } = await extractChain(this.#place, this.#chain, {
      signal,
      ...(restores ? { target: { data, tablespaces, user } } : {}),
    });
    const links = this.#chain.length === 1 ? '' : ` of ${this.#chain.length} links`;
    return `${files} files${links}, ${bytes} bytes, each by its SHA-256${restores ? ', restored' : ''}`;
  }

  #combine(programs: PostgresPrograms): Promise<string> {
    const { workspace } = this.#scratch;
    return combineChain({ programs, workspace, signal: this.#options.signal }, this.#chain, this.#scratch, false);
  }

  async #start(entry: BackupEntry, programs: PostgresPrograms): Promise<string> {
    const plan = {
      target: { kind: 'lsn', lsn: targetOf(entry), inclusive: false },
      timeline: entry.timeline,
      action: 'pause',
      walDirectory: this.#scratch.wal,
    } as const;
    this.#server = await startRestored({ ...this.#scratch, settings: this.#scratch.directory }, entry, programs, plan, {
      durable: false,
      signal: this.#options.signal,
    });
    return `PostgreSQL ${programs.version} started on the restored files`;
  }

  async #primaryPosition(): Promise<{ readonly lsn: string; readonly nowMs: number } | string> {
    try {
      return await withBackupPool(this.#place.postgres.primary, readPrimaryPosition);
    } catch (error) {
      return messageOf(error);
    }
  }

  async #rpo(proof: WalProof, position: { readonly lsn: string; readonly nowMs: number } | string): Promise<void> {
    if (typeof position === 'string') {
      this.#add(notJudged('rpo', `the primary does not answer: ${position}`));
      return;
    }
    const missing = lsn(position.lsn) - proof.tailLsn;
    const allowedMs = this.#place.backups.rpo;
    await this.#check('rpo', () => {
      this.#rpoMs =
        missing <= 0n
          ? 0
          : Math.max(0, Math.round(position.nowMs - (proof.lastCommitAtMs ?? lastKnown(this.#known.entry))));
      if (this.#rpoMs > allowedMs) {
        const text = `${missing} bytes of the newest history are not in the archive: up to ${formatDuration(this.#rpoMs)} would be lost, ${formatDuration(allowedMs)} is allowed`;
        return Promise.reject(new CheckFailed('RPO_BREACHED', text));
      }
      return Promise.resolve(
        missing <= 0n
          ? 'the archive holds everything that the primary has written'
          : `${missing} bytes behind the primary`,
      );
    });
  }

  #keep(entry: BackupEntry): VerifyReport['kept'] {
    keepScratch(this.#scratch);
    const { directory, socket } = this.#scratch;
    return { directory, connect: `psql -h ${socket} -U ${entry.bootstrapRole} ${entry.database}` };
  }

  async #check(name: CheckName, work: () => Promise<string>): Promise<boolean> {
    const { signal, report } = this.#options;
    signal.throwIfAborted();
    report(name, null);
    const began = performance.now();
    const ms = (): number => Math.round(performance.now() - began);
    try {
      const detail = await work();
      this.#add(passed(name, ms(), detail));
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CheckFailed)) {
        throw error;
      }
      this.#add(failed(name, ms(), error.code, error.message));
      return false;
    }
  }

  #add(check: BackupCheck): void {
    this.#checks.push(check);
    this.#options.report(check.name, check);
  }

  #report(kept: VerifyReport['kept']): VerifyReport {
    const { entry } = this.#known;
    const { level } = this.#options;
    const { signing } = this.#place.keys;
    const report = {
      backupId: entry.id,
      level,
      ok: isGood(level, this.#checks, entry.kind),
      checks: this.#checks,
      rtoMs: this.#rtoMs,
      rpoMs: this.#rpoMs,
      bytes: entry.clusterBytes,
      postgresVersion: entry.postgresVersion,
      verifiedAt: new Date().toISOString(),
      host: hostname(),
      kept,
    };
    return signing.privateKey === undefined ? { ...report, signature: null } : signDocument(report, signing);
  }
}

/** The LSN that is recovered to: the fingerprint's, else the end of everything that was archived with the backup. */
function targetOf({ fingerprint, endLsn }: BackupEntry): string {
  return fingerprint?.lsn ?? endLsn;
}

/** Where the archive's last segments hold no commit, nothing newer than the backup itself is known to be in it. */
function lastKnown({ completedAt }: BackupEntry): number {
  return Date.parse(completedAt);
}

function lsn(text: string): bigint {
  const value = parseLsn(text);
  if (value === undefined) {
    throw new KpipeError('KPIPE_BACKUP_FAILED', `${text} is no LSN`);
  }
  return value;
}
