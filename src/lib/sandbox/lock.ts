import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { codeOf, KpipeError } from '../errors.ts';
import { identityOf, isAlive, type ProcessIdentity, parseIdentity } from './process-identity.ts';
import type { ReportProgress } from './types.ts';

/**
 * One kpipe at a time works on a sandbox. The lock is a file that holds its owner's identity and comes into being with it
 * (link), so that a lock whose owner was killed is told from one that is held; a stale one is taken over.
 */
export async function withLock<T>(
  path: string,
  deadlineMs: number,
  report: ReportProgress,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  await acquire(path, Date.now() + deadlineMs, report, signal);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

async function acquire(path: string, deadline: number, report: ReportProgress, signal: AbortSignal): Promise<void> {
  const mine = `${path}.${randomUUID()}`;
  writeFileSync(mine, JSON.stringify(identityOf(process.pid)), { mode: 0o600 });
  try {
    let told = false;
    while (!tryLink(mine, path)) {
      const owner = readOwner(path);
      if (owner === undefined || !isAlive(owner)) {
        removeStale(path, owner);
        continue;
      }
      if (Date.now() > deadline) {
        throw new KpipeError('KPIPE_SANDBOX_FAILED', `another kpipe (pid ${owner.pid}) is working on this sandbox`, {
          next: `wait for it, or end it: kill ${owner.pid}`,
        });
      }
      if (!told) {
        report({ server: 'sandbox', phase: 'waiting', detail: `another kpipe (pid ${owner.pid}) is working on it` });
        told = true;
      }
      if (signal.aborted) {
        throw new KpipeError('KPIPE_INTERRUPTED', 'interrupted while another kpipe was working on this sandbox');
      }
      await sleep(100);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Takes the lock if nobody who lives has it, and says who has. The taker removes the file when done. */
export function takeLock(path: string): ProcessIdentity | 'taken' {
  const mine = `${path}.${randomUUID()}`;
  writeFileSync(mine, JSON.stringify(identityOf(process.pid)), { mode: 0o600 });
  try {
    while (!tryLink(mine, path)) {
      const owner = readOwner(path);
      if (owner !== undefined && isAlive(owner)) {
        return owner;
      }
      removeStale(path, owner);
    }
    return 'taken';
  } finally {
    rmSync(mine, { force: true });
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') {
      return false;
    }
    throw error;
  }
}

function readOwner(path: string): ProcessIdentity | undefined {
  try {
    return parseIdentity(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Moves the lock away; when another kpipe took it over in between, it is put back. */
function removeStale(path: string, seen: ProcessIdentity | undefined): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') {
      return;
    }
    throw error;
  }
  const moved = readOwner(aside);
  if (moved !== undefined && (moved.pid !== seen?.pid || moved.startTicks !== seen.startTicks) && isAlive(moved)) {
    tryLink(aside, path);
  }
  rmSync(aside, { force: true });
}
