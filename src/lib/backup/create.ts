import { createReadStream, rmSync } from 'node:fs';
import { join } from 'node:path';

import { KpipeError, messageOf } from '../errors.ts';
import {
  closeSegment,
  createSlot,
  withBackupPool,
  readSourceFacts,
  type SourceFacts,
} from '../postgres/backup-source.ts';
import type { Pool } from '../postgres/pool.ts';
import { takeBaseBackup, type BaseBackup } from './base-backup.ts';
import { newBackupId, type BackupEntry, type Fingerprint, type StoredFile } from './entry.ts';
import { extractBackup } from './extract.ts';
import { signDocument } from './keys.ts';
import { formatLsn, parseLsn, segmentBefore, segmentName } from './lsn.ts';
import { archiveSlot, repair, withBackupLock, type BackupPlace } from './place.ts';
import { openWorkspace, stopAll, type Workspace } from './programs.ts';
import type { StagedBackup } from './repository.ts';
import { sealed, sealedName } from './stored-file.ts';
import { takeFingerprint } from './take-fingerprint.ts';
import { refuseUnsafeProgram, requirePrograms, type PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';
import { receiveWal, waitUntilArchived } from './wal-archive.ts';

/** The document of `kpipe backup create`. */
export interface BackupCreated {
  readonly id: string;
  readonly entry: BackupEntry;
  /** What killed runs had left, and what was done about it. */
  readonly repaired: readonly string[];
  readonly phases: readonly { readonly name: CreatePhase; readonly ms: number }[];
  readonly ms: number;
}

export type CreatePhase = 'preflight' | 'copy' | 'store' | 'fingerprint' | 'archive' | 'publish';

export type ReportPhase = (phase: CreatePhase, detail: string, ms: number | null) => void;

export interface CreateOptions {
  readonly report: ReportPhase;
  readonly signal: AbortSignal;
  readonly environment: NodeJS.ProcessEnv;
  /** How long a closed segment may take to reach the archive. */
  readonly archiveDeadlineMs: number;
}

/**
 * Takes a backup. Nothing of it can be seen before its entry is published, which is the last thing done: killed at any
 * instant, it leaves only what the next run clears. @throws KPIPE_LOCKED, KPIPE_REFUSED, KPIPE_BACKUP_FAILED, …
 */
export function createBackup(place: BackupPlace, options: CreateOptions): Promise<BackupCreated> {
  return withBackupLock(place.local, 'create', async () => {
    const began = performance.now();
    const repaired = await repair(place);
    return withBackupPool(place.postgres.primary, async (pool) => {
      const work = new Creation(place, options, pool);
      const entry = await work.carryOut();
      return { id: entry.id, entry, repaired, phases: work.phases, ms: Math.round(performance.now() - began) };
    });
  });
}

interface Source extends SourceFacts {
  readonly programs: PostgresPrograms;
  readonly warnings: readonly string[];
}

class Creation {
  readonly phases: { name: CreatePhase; ms: number }[] = [];
  readonly #place: BackupPlace;
  readonly #options: CreateOptions;
  readonly #pool: Pool;
  #trouble: string | undefined;

  constructor(place: BackupPlace, options: CreateOptions, pool: Pool) {
    this.#place = place;
    this.#options = options;
    this.#pool = pool;
  }

  #preflight(): Promise<Source> {
    return this.#phase('preflight', async () => {
      const { postgres, backups } = this.#place;
      const facts = await readSourceFacts(this.#pool, archiveSlot(this.#place));
      const programs = requirePrograms(facts.major, this.#options.environment);
      refuseUnsafeProgram(programs, postgres.primary, backups.trustServer);
      refuseUnfit(facts);
      const warnings = [...warningsOf(facts, this.#place), ...(await this.#spaceWarnings(facts))];
      if (facts.slot === null) {
        await createSlot(this.#pool, archiveSlot(this.#place));
        warnings.push(`made the slot ${archiveSlot(this.#place)}: the archive begins now`);
      }
      return [{ ...facts, programs, warnings }, `PostgreSQL ${facts.version}, ${warnings.length} warnings`];
    });
  }

  async #spaceWarnings({ clusterBytes }: SourceFacts): Promise<readonly string[]> {
    const free = await this.#place.repository.freeBytes();
    // Compressed, a cluster is seldom smaller than an eighth of itself.
    if (clusterBytes !== null && free < clusterBytes / 8) {
      throw new KpipeError('KPIPE_REFUSED', `the repository has ${free} bytes left, the cluster has ${clusterBytes}`, {
        next: 'kpipe backup prune, or another repository',
      });
    }
    return clusterBytes !== null && free < clusterBytes
      ? ['the repository has less space left than the cluster has uncompressed']
      : [];
  }

  /** Where nobody receives the write-ahead log, this run does it itself, for as long as it takes. */
  async carryOut(): Promise<BackupEntry> {
    const source = await this.#preflight();
    const receiving = new AbortController();
    const onTrouble = (reason: string): void => {
      this.#trouble = reason;
    };
    const receiver =
      source.slot?.active === true
        ? Promise.resolve()
        : receiveWal(this.#place, source.programs, onTrouble, receiving.signal);
    try {
      return await this.#take(source);
    } finally {
      receiving.abort();
      await receiver;
    }
  }

  async #take(source: Source): Promise<BackupEntry> {
    const { repository, local } = this.#place;
    const startedAt = new Date();
    const id = newBackupId(startedAt.getTime());
    const workspace = openWorkspace(join(local.work, id));
    const staged = repository.stage(id);
    try {
      const base = await this.#phase('copy', async () => {
        const taken = await takeBaseBackup(this.#place, id, source.programs, workspace, this.#options.signal);
        return [taken, `${taken.manifest.files.length} files`];
      });
      return await this.#complete(source, { id, startedAt, base, staged });
    } catch (error) {
      staged.discard();
      throw asBackupFailure(error);
    } finally {
      await discardWorkspace(workspace);
    }
  }

  async #complete(
    source: Source,
    { id, startedAt, base, staged }: { id: string; startedAt: Date; base: BaseBackup; staged: StagedBackup },
  ): Promise<BackupEntry> {
    const range = base.manifest.walRanges.at(-1);
    if (range === undefined) {
      throw new KpipeError('KPIPE_BACKUP_FAILED', 'the manifest names no write-ahead log');
    }
    // The server hashes tables while this process seals and reads back files.
    const other = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, other.signal]);
    const both = [this.#store(staged, base, signal), this.#fingerprint(formatLsn(range.end), signal)] as const;
    const [files, fingerprint] = await Promise.all(both).catch(async (error: unknown) => {
      other.abort(error);
      await Promise.allSettled(both);
      throw error;
    });
    const archivedLsn = await this.#archive(source, id);
    const entry: BackupEntry = {
      version: 1,
      id,
      kind: 'full',
      pipeline: this.#place.config.pipeline,
      startedAt: startedAt.toISOString(),
      completedAt: new Date().toISOString(),
      systemIdentifier: source.systemIdentifier,
      postgresVersion: source.version,
      timeline: range.timeline,
      segmentBytes: source.segmentBytes,
      startLsn: formatLsn(range.start),
      endLsn: formatLsn(range.end),
      archivedLsn,
      dataChecksums: source.dataChecksums,
      bootstrapRole: source.bootstrapRole,
      database: source.database,
      clusterBytes: base.manifest.files.reduce((sum, { bytes }) => sum + bytes, 0),
      storedBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      compression: base.compression,
      encryptionKeyId: this.#place.keys.encryption?.id.toString('hex') ?? null,
      files: [...files],
      fingerprint,
      warnings: [...source.warnings, ...fingerprintWarnings(fingerprint)],
    };
    await this.#phase('publish', async () => {
      this.#options.signal.throwIfAborted();
      await staged.publish(signDocument(entry, this.#place.keys.signing));
      return [undefined, id];
    });
    return entry;
  }

  /** Into the repository, and read back from there: what was stored is what the server sent. */
  #store(staged: StagedBackup, base: BaseBackup, signal: AbortSignal): Promise<readonly StoredFile[]> {
    return this.#phase('store', async () => {
      const key = this.#place.keys.encryption;
      const files: StoredFile[] = [];
      for (const name of base.files) {
        signal.throwIfAborted();
        files.push(
          await staged.write(
            sealedName(name, key),
            sealed(createReadStream(join(base.directory, name), { highWaterMark: 1 << 20 }), key),
          ),
        );
      }
      await extractBackup({ entry: { files }, read: (name) => staged.read(name), key, signal });
      return [files, `${files.length} files stored and read back`];
    });
  }

  #fingerprint(afterLsn: string, signal: AbortSignal): Promise<Fingerprint | null> {
    return this.#phase('fingerprint', async () => {
      const taken = await takeFingerprint(this.#place, afterLsn, signal);
      return [taken, describeFingerprint(taken)];
    });
  }

  /** There must be a record behind the fingerprint's LSN, or no recovery would stop there. */
  #archive(source: Source, id: string): Promise<string> {
    return this.#phase('archive', async () => {
      const lsn = await closeSegment(this.#pool, `backup ${id}`);
      const segment = segmentName(
        segmentBefore(source.timeline, parseLsn(lsn) ?? 0n, source.segmentBytes),
        source.segmentBytes,
      );
      await waitUntilArchived(this.#place, segment, {
        deadlineMs: this.#options.archiveDeadlineMs,
        signal: this.#options.signal,
        trouble: () => this.#trouble,
      });
      return [lsn, `up to ${lsn}, segment ${segment}`];
    });
  }

  async #phase<Result>(name: CreatePhase, work: () => Promise<readonly [Result, string]>): Promise<Result> {
    const began = performance.now();
    this.#options.report(name, '', null);
    const [result, detail] = await work();
    const ms = Math.round(performance.now() - began);
    this.phases.push({ name, ms });
    this.#options.report(name, detail, ms);
    return result;
  }
}

async function discardWorkspace(workspace: Workspace): Promise<void> {
  await stopAll(workspace);
  rmSync(workspace.directory, { recursive: true, force: true });
}

function refuseUnfit(facts: SourceFacts): void {
  const refuse = (message: string, next: string): never => {
    throw new KpipeError('KPIPE_REFUSED', message, { next });
  };
  if (facts.inRecovery) {
    refuse('postgres.primary is a standby', 'name the primary; `kpipe replica status` shows who is');
  }
  if (!facts.mayReplicate) {
    refuse('the role may not take base backups', 'alter role ROLE replication');
  }
  if (!facts.maySwitchWal) {
    refuse('the role may not call pg_switch_wal()', 'grant execute on function pg_switch_wal() to ROLE');
  }
  if (facts.slot !== null && !facts.slot.physical) {
    refuse('the slot of postgres.backups.walArchive is a logical one', 'name another slot; kpipe makes it');
  }
  if (facts.slot?.walStatus === 'lost') {
    refuse(
      'the slot has lost its write-ahead log: the archive has a hole',
      'drop the slot (select pg_drop_replication_slot(…)) and create again: the archive begins anew',
    );
  }
}

function warningsOf(facts: SourceFacts, { keys, postgres }: BackupPlace): string[] {
  return [
    ...(facts.dataChecksums
      ? []
      : [
          'data checksums are off: rot on the primary is copied as it is, and only the comparison of contents can see it',
        ]),
    ...(keys.encryption === undefined ? ['the backup is not encrypted: postgres.backups.encryption is missing'] : []),
    ...(postgres.replicas.length === 0
      ? ['no replica is declared: only the pipeline tables can be compared, up to their positions']
      : []),
  ];
}

function fingerprintWarnings(fingerprint: Fingerprint | null): readonly string[] {
  if (fingerprint === null) {
    return ['there is no fingerprint: the contents of this backup cannot be proven'];
  }
  return fingerprint.method === 'standby' && fingerprint.notCompared.length > 0
    ? [
        `${fingerprint.notCompared.length} tables cannot be read by the role and are not compared: grant pg_read_all_data`,
      ]
    : [];
}

function describeFingerprint(fingerprint: Fingerprint | null): string {
  if (fingerprint === null) {
    return 'none: no standby, no pipeline tables';
  }
  return fingerprint.method === 'standby'
    ? `${fingerprint.tables.length} tables at ${fingerprint.lsn}, on ${fingerprint.standby}`
    : `${fingerprint.partitions.length} partitions up to their positions`;
}

function asBackupFailure(error: unknown): unknown {
  if (error instanceof CheckFailed) {
    return new KpipeError('KPIPE_BACKUP_FAILED', `what was stored does not read back: ${error.message}`, {
      next: 'look at the disk that holds the repository',
      cause: error,
    });
  }
  return error instanceof Error && /ENOSPC|EDQUOT/.test(error.message) && !(error instanceof KpipeError)
    ? new KpipeError('KPIPE_BACKUP_FAILED', `the repository is full: ${messageOf(error)}`, {
        next: 'kpipe backup prune, or another repository',
        cause: error,
      })
    : error;
}
