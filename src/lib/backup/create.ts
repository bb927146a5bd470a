import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { KpipeError } from '../errors.ts';
import {
  closeSegment,
  createSlot,
  withBackupPool,
  readSourceFacts,
  type SourceFacts,
} from '../postgres/backup-source.ts';
import type { Pool } from '../postgres/pool.ts';
import { takeBaseBackup, type BaseBackup, type CopiedFile } from './base-backup.ts';
import { asBackupFailure, describeFingerprint, fingerprintWarnings, refuseUnfit, warningsOf } from './create-rules.ts';
import { newBackupId, type BackupEntry, type Fingerprint, type StoredFile } from './entry.ts';
import { describeIncrement, openParent, type Parent } from './increment.ts';
import { signDocument } from './keys.ts';
import { formatLsn, parseLsn, segmentBefore, segmentName } from './lsn.ts';
import type { Manifest } from './manifest.ts';
import { archiveSlot, repair, withBackupLock, type BackupPlace } from './place.ts';
import { openWorkspace, stopAll, type Workspace } from './programs.ts';
import type { StagedBackup } from './repository.ts';
import { StoredCopy } from './store-copy.ts';
import { takeFingerprint } from './take-fingerprint.ts';
import { refuseUnsafeProgram, requirePrograms, type PostgresPrograms } from './tools.ts';
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
  /** Only what has changed since a backup: the named one, else the newest that can be built on. */
  readonly incremental?: { readonly base: string | undefined };
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

interface Proof {
  readonly fingerprint: Fingerprint | null;
  readonly archivedLsn: string;
}

interface Made extends Proof {
  readonly id: string;
  readonly startedAt: Date;
  readonly base: BaseBackup;
  readonly files: readonly StoredFile[];
}

interface Source extends SourceFacts {
  readonly programs: PostgresPrograms;
  readonly warnings: readonly string[];
  /** What is built on; a full backup builds on nothing. */
  readonly parent: Parent | undefined;
}

class Creation {
  readonly phases: { name: CreatePhase; ms: number }[] = [];
  readonly #place: BackupPlace;
  readonly #options: CreateOptions;
  readonly #pool: Pool;
  /** Aborted when a part has failed: the parts that run beside it end too. */
  readonly #failed = new AbortController();
  readonly #signal: AbortSignal;
  #trouble: string | undefined;

  constructor(place: BackupPlace, options: CreateOptions, pool: Pool) {
    this.#place = place;
    this.#options = options;
    this.#pool = pool;
    this.#signal = AbortSignal.any([options.signal, this.#failed.signal]);
  }

  #preflight(): Promise<Source> {
    return this.#phase('preflight', async () => {
      const { postgres, backups } = this.#place;
      const facts = await readSourceFacts(this.#pool, archiveSlot(this.#place));
      const programs = requirePrograms(facts.major, this.#options.environment);
      refuseUnsafeProgram(programs, postgres.primary, backups.trustServer);
      refuseUnfit(facts);
      const parent = await this.#parent(facts);
      const warnings = [...warningsOf(facts, this.#place), ...(await this.#spaceWarnings(facts))];
      if (facts.slot === null) {
        await createSlot(this.#pool, archiveSlot(this.#place));
        warnings.push(`made the slot ${archiveSlot(this.#place)}: the archive begins now`);
      }
      const built = parent === undefined ? '' : `, an increment of ${parent.entry.id}`;
      return [
        { ...facts, programs, warnings, parent },
        `PostgreSQL ${facts.version}, ${warnings.length} warnings${built}`,
      ];
    });
  }

  async #parent(facts: SourceFacts): Promise<Parent | undefined> {
    const { incremental } = this.#options;
    return incremental === undefined ? undefined : await openParent(this.#place, facts, incremental.base);
  }

  async #spaceWarnings({ clusterBytes }: SourceFacts): Promise<readonly string[]> {
    const free = await this.#place.repository.freeBytes();
    // Compressed, a cluster is seldom smaller than an eighth of itself.
    if (clusterBytes !== null && free !== null && free < clusterBytes / 8) {
      throw new KpipeError('KPIPE_REFUSED', `the repository has ${free} bytes left, the cluster has ${clusterBytes}`, {
        next: 'kpipe backup prune, or another repository',
      });
    }
    return clusterBytes !== null && free !== null && free < clusterBytes
      ? ['the repository has less space left than the cluster has uncompressed']
      : [];
  }

  /** Where nobody on this machine receives the write-ahead log, this run does it itself, for as long as it takes. */
  async carryOut(): Promise<BackupEntry> {
    const source = await this.#preflight();
    const receiving = new AbortController();
    const onTrouble = (reason: string): void => {
      this.#trouble = reason;
    };
    const receiver = receiveWal(this.#place, source.programs, onTrouble, receiving.signal).catch((error: unknown) =>
      this.#failed.abort(error),
    );
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
    const staged = await repository.stage(id, { expectedBytes: source.clusterBytes, signal: this.#signal });
    try {
      const copying = this.#copy(source, id, { workspace, staged });
      const proving = copying.base.then((base) => this.#prove(source, id, base));
      const [base, files, proof] = await this.#together([copying.base, copying.files, proving]);
      const entry = this.#entry(source, { id, startedAt, base, files, ...proof });
      await this.#phase('publish', async () => {
        this.#signal.throwIfAborted();
        await staged.publish(signDocument(entry, this.#place.keys.signing));
        return [undefined, id];
      });
      return entry;
    } catch (error) {
      await staged.discard();
      // An interruption ends each part in its own way, and whichever ended first would be told.
      this.#options.signal.throwIfAborted();
      throw asBackupFailure(error);
    } finally {
      await discardWorkspace(workspace);
    }
  }

  /** What the server sends is stored, and proven to be what it meant to send, while it is sent. */
  #copy(
    source: Source,
    id: string,
    { workspace, staged }: { readonly workspace: Workspace; readonly staged: StagedBackup },
  ): { readonly base: Promise<BaseBackup>; readonly files: Promise<readonly StoredFile[]> } {
    const signal = this.#signal;
    const stored = new StoredCopy(staged, this.#place.keys.encryption, {
      signal,
      onFailure: (error) => this.#failed.abort(error),
    });
    const base = this.#phase('copy', async () => {
      const parentManifest = source.parent?.manifest;
      const options = { signal, parentManifest, onFile: (file: CopiedFile) => stored.add(file) };
      const taken = await takeBaseBackup(this.#place, id, source.programs, workspace, options);
      return [taken, `${taken.manifest.files.length} files`];
    });
    const files = this.#phase('store', async () => {
      await base.catch(async (error: unknown) => {
        this.#failed.abort(error);
        await stored.abandoned();
        throw error;
      });
      const written = await stored.finish();
      return [written, `${written.length} files stored and read back`];
    });
    return { base, files };
  }

  /** The server hashes tables, and the log of it reaches the archive, while this process reads back files. */
  async #prove(source: Source, id: string, base: BaseBackup): Promise<Proof> {
    const held = Promise.withResolvers<void>();
    const looking = this.#fingerprint(formatLsn(rangeOf(base).end), held.resolve);
    const archiving = Promise.race([held.promise, looking]).then(() => this.#archive(source, id));
    const [fingerprint, archivedLsn] = await this.#together([looking, archiving]);
    return { fingerprint, archivedLsn };
  }

  /** All of them, or none: the failure of one ends the others, and they are waited for. */
  async #together<const Parts extends readonly Promise<unknown>[]>(
    parts: Parts,
  ): Promise<{ -readonly [Index in keyof Parts]: Awaited<Parts[Index]> }> {
    try {
      return await Promise.all(parts);
    } catch (error) {
      this.#failed.abort(error);
      await Promise.allSettled(parts);
      throw error;
    }
  }

  #entry(source: Source, made: Made): BackupEntry {
    const range = rangeOf(made.base);
    const { fingerprint } = made;
    const { parent } = source;
    const copiedBytes = made.base.manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      version: 1,
      id: made.id,
      kind: parent === undefined ? 'full' : 'incremental',
      increment: parent === undefined ? null : describeIncrement(parent, copiedBytes),
      pipeline: this.#place.config.pipeline,
      startedAt: made.startedAt.toISOString(),
      completedAt: new Date().toISOString(),
      systemIdentifier: source.systemIdentifier,
      postgresVersion: source.version,
      timeline: range.timeline,
      segmentBytes: source.segmentBytes,
      startLsn: formatLsn(range.start),
      endLsn: formatLsn(range.end),
      archivedLsn: made.archivedLsn,
      dataChecksums: source.dataChecksums,
      bootstrapRole: source.bootstrapRole,
      database: source.database,
      clusterBytes: parent === undefined ? copiedBytes : (source.clusterBytes ?? parent.entry.clusterBytes),
      storedBytes: made.files.reduce((sum, { bytes }) => sum + bytes, 0),
      compression: made.base.compression,
      encryptionKeyId: this.#place.keys.encryption?.id.toString('hex') ?? null,
      files: [...made.files],
      fingerprint,
      warnings: [...source.warnings, ...fingerprintWarnings(fingerprint)],
    };
  }

  #fingerprint(afterLsn: string, onHeld: () => void): Promise<Fingerprint | null> {
    return this.#phase('fingerprint', async () => {
      const taken = await takeFingerprint(this.#place, afterLsn, { signal: this.#signal, onHeld });
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
        signal: this.#signal,
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

/** @throws KPIPE_BACKUP_FAILED */
function rangeOf({ manifest }: BaseBackup): Manifest['walRanges'][number] {
  const range = manifest.walRanges.at(-1);
  if (range === undefined) {
    throw new KpipeError('KPIPE_BACKUP_FAILED', 'the manifest names no write-ahead log');
  }
  return range;
}

async function discardWorkspace(workspace: Workspace): Promise<void> {
  await stopAll(workspace);
  rmSync(workspace.directory, { recursive: true, force: true });
}
