import { KpipeError, messageOf } from '../errors.ts';
import { createSlot, readSourceFacts, withBackupPool } from '../postgres/backup-source.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { findBackup } from './catalogue.ts';
import { createBackup, type ReportPhase } from './create.ts';
import { archiveSlot, withBackupLock, type BackupPlace } from './place.ts';
import { pruneBackups } from './prune.ts';
import { dueAtMs, isMissed, jitterMs } from './schedule.ts';
import { requirePrograms } from './tools.ts';
import { verifyBackup } from './verify.ts';
import type { VerifyLevel } from './verdict.ts';
import { receiveWal, sealFinished } from './wal-archive.ts';

/** What `kpipe backup run` says of itself while it runs. */
export type RunEvent =
  | { readonly kind: 'receiving'; readonly slot: string }
  | { readonly kind: 'trouble'; readonly reason: string }
  | { readonly kind: 'sealed'; readonly segments: readonly string[] }
  | { readonly kind: 'due'; readonly atMs: number }
  | { readonly kind: 'created'; readonly id: string; readonly ms: number }
  | { readonly kind: 'verified'; readonly id: string; readonly ok: boolean }
  | { readonly kind: 'pruned'; readonly backups: number; readonly segments: number }
  | { readonly kind: 'failed'; readonly code: string; readonly reason: string };

/** The document of `kpipe backup run`, when it ends. */
export interface BackupRunReport {
  readonly created: readonly string[];
  readonly sealedSegments: number;
  readonly failures: number;
  readonly ms: number;
}

export interface RunOptions {
  /** Null: only the write-ahead log is received. */
  readonly everyMs: number | null;
  readonly prune: boolean;
  readonly verify: { readonly level: VerifyLevel; readonly scratchRoot: string } | null;
  readonly signal: AbortSignal;
  readonly environment: NodeJS.ProcessEnv;
  readonly archiveDeadlineMs: number;
  readonly onEvent: (event: RunEvent) => void;
}

const sealEveryMs = 1000;

/**
 * Receives the write-ahead log and takes backups, until the signal. A run that failed is tried again; one that is missed
 * ends everything, so that whoever supervises sees it: the slot keeps what is not received meanwhile.
 * @throws KPIPE_LOCKED, KPIPE_BACKUP_MISSED
 */
export function runBackups(place: BackupPlace, options: RunOptions): Promise<BackupRunReport> {
  return withBackupLock(place.local, 'run', async () => {
    const began = performance.now();
    const loop = new BackupLoop(place, options);
    await loop.run();
    return { ...loop.counts, ms: Math.round(performance.now() - began) };
  });
}

class BackupLoop {
  readonly #place: BackupPlace;
  readonly #options: RunOptions;
  readonly #created: string[] = [];
  #sealed = 0;
  #failures = 0;

  constructor(place: BackupPlace, options: RunOptions) {
    this.#place = place;
    this.#options = options;
  }

  get counts(): Pick<BackupRunReport, 'created' | 'sealedSegments' | 'failures'> {
    return { created: this.#created, sealedSegments: this.#sealed, failures: this.#failures };
  }

  async run(): Promise<void> {
    const slot = archiveSlot(this.#place);
    const facts = await withBackupPool(this.#place.postgres.primary, async (pool) => {
      const found = await readSourceFacts(pool, slot);
      if (found.slot === null) {
        await createSlot(pool, slot);
      }
      return found;
    });
    const programs = requirePrograms(facts.major, this.#options.environment);
    const over = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, over.signal]);
    const onTrouble = (reason: string): void => this.#options.onEvent({ kind: 'trouble', reason });
    this.#options.onEvent({ kind: 'receiving', slot });
    const receiving = receiveWal(this.#place, programs, onTrouble, signal);
    const sealing = this.#seal(signal);
    try {
      await Promise.race([this.#takeBackups(signal), receiving, sealing]);
    } finally {
      over.abort();
      await Promise.allSettled([receiving, sealing]);
      await this.#sealOnce();
    }
  }

  async #seal(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#sealOnce();
      await wait(sealEveryMs, signal);
    }
  }

  /** A full repository is no reason to stop receiving: the slot and `incoming` hold what cannot be moved yet. */
  async #sealOnce(): Promise<void> {
    try {
      const segments = await sealFinished(this.#place);
      this.#sealed += segments.length;
      if (segments.length > 0) {
        this.#options.onEvent({ kind: 'sealed', segments });
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #takeBackups(signal: AbortSignal): Promise<void> {
    const { everyMs, onEvent } = this.#options;
    if (everyMs === null) {
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      return;
    }
    while (!signal.aborted) {
      const due = dueAtMs({ everyMs, lastCompletedAtMs: await this.#lastCompletedAtMs() }, Date.now());
      const begin = due + (due > Date.now() ? jitterMs(everyMs, Math.random) : 0);
      onEvent({ kind: 'due', atMs: begin });
      await wait(begin - Date.now(), signal);
      await this.#takeOne(due, everyMs, signal);
    }
  }

  /** Until it is made, given up since a whole interval has passed, or interrupted. */
  async #takeOne(due: number, everyMs: number, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#backup(signal);
        return;
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        this.#fail(error);
        const pauseMs = backoffMs(attempt, { baseMs: 2000, capMs: Math.min(everyMs / 4, 300_000) }, Math.random);
        if (isMissed(due, everyMs, Date.now() + pauseMs)) {
          throw new KpipeError('KPIPE_BACKUP_MISSED', `no backup was made for a whole interval: ${messageOf(error)}`, {
            next: 'mend what is named, then start again: the slot has kept the write-ahead log',
            cause: error,
          });
        }
        await wait(pauseMs, signal);
      }
    }
  }

  async #backup(signal: AbortSignal): Promise<void> {
    const { archiveDeadlineMs, environment, onEvent, prune, verify } = this.#options;
    const silent: ReportPhase = () => undefined;
    const { id, ms } = await createBackup(this.#place, { report: silent, signal, environment, archiveDeadlineMs });
    this.#created.push(id);
    onEvent({ kind: 'created', id, ms });
    if (verify !== null) {
      const report = await verifyBackup(this.#place, id, {
        ...verify,
        keep: false,
        signal,
        environment,
        report: () => undefined,
      });
      onEvent({ kind: 'verified', id, ok: report.ok });
      const failure = report.checks.find((check) => check.ok === false);
      if (!report.ok) {
        throw new KpipeError(
          'KPIPE_BACKUP_FAILED',
          `backup ${id} is not good: ${failure?.code ?? '?'}: ${failure?.detail ?? ''}`,
        );
      }
    }
    if (prune) {
      const { decisions, removedWal } = await pruneBackups(this.#place, false, Date.now());
      onEvent({ kind: 'pruned', backups: decisions.filter(({ keep }) => !keep).length, segments: removedWal });
    }
  }

  async #lastCompletedAtMs(): Promise<number | null> {
    try {
      const { entry } = await findBackup(this.#place, undefined);
      return Date.parse(entry.completedAt);
    } catch (error) {
      if (error instanceof KpipeError) {
        return null;
      }
      throw error;
    }
  }

  #fail(error: unknown): void {
    this.#failures += 1;
    const code = error instanceof KpipeError ? error.code : 'KPIPE_INTERNAL';
    this.#options.onEvent({ kind: 'failed', code, reason: messageOf(error) });
  }
}
