import {
  closeSync,
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { KpipeError, messageOf } from '../errors.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { takeLock } from '../sandbox/lock.ts';
import { lastMeaningfulLine } from '../sandbox/log-tail.ts';
import { stopRecorded } from '../sandbox/processes.ts';
import type { ArchivedSegment } from './archive-range.ts';
import { UnreadableFile } from './frames.ts';
import { archiveSlot, receiverLock, type BackupPlace } from './place.ts';
import { endStarted, libpqEnvironment, outputOf, start } from './programs.ts';
import { compressed, sealed, sealedName, unsealed } from './stored-file.ts';
import type { PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';

/**
 * The write-ahead log, received as it is written: pg_receivewal fills `local/incoming`, and confirms to its slot only what
 * is synced there. A finished segment is compressed, encrypted and moved into the repository. The unfinished one
 * (`.partial`) stays in `incoming`, as it is: after a crash of the primary it holds the last commits.
 */
const receiver = 'pg_receivewal';

/**
 * Receives until the signal; a receiver that ends is started again. There is one at a time: two would take the slot and the
 * record of their process from each other, and leave one behind that nobody ends. Who comes second, such as a backup while
 * `kpipe backup run` receives, waits until it is needed.
 */
export async function receiveWal(
  place: BackupPlace,
  programs: PostgresPrograms,
  onTrouble: (reason: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const lock = join(place.local.locks, receiverLock);
  while (takeLock(lock) !== 'taken') {
    if (signal.aborted) {
      return;
    }
    await wait(250, signal);
  }
  try {
    await receiveAlone(place, programs, onTrouble, signal);
  } finally {
    rmSync(lock, { force: true });
  }
}

async function receiveAlone(
  place: BackupPlace,
  programs: PostgresPrograms,
  onTrouble: (reason: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { local, postgres } = place;
  // One that a killed kpipe left behind would hold the slot.
  await stopRecorded(local.workspace.paths, receiver, 'SIGINT', 5000);
  const { environment, done } = libpqEnvironment(postgres.primary, programs.bin, local.workspace);
  const keepAlive = setInterval(() => undefined, 60_000);
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  try {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const args = ['-D', local.incoming, '--slot', archiveSlot(place), '--synchronous', '--no-loop', '--no-password'];
      const started = start(local.workspace, { name: receiver, file: join(programs.bin, receiver), args, environment });
      const startedAt = performance.now();
      await Promise.race([started.ended, aborted]);
      if (signal.aborted) {
        await endStarted(local.workspace, started, 'SIGINT', 5000);
        break;
      }
      onTrouble(await goOnAfter(place, outputOf(started)));
      const ranLong = performance.now() - startedAt > 10_000;
      await wait(backoffMs(ranLong ? 0 : attempt, { baseMs: 200, capMs: 10_000 }, Math.random), signal);
    }
  } finally {
    done();
    clearInterval(keepAlive);
  }
}

/**
 * Why a receiver ended. Where the server no longer has what comes after the newest file here, the archive has a hole that
 * nothing fills: what is here is laid aside, and the archive goes on from the slot. Verifying older backups shows the hole.
 */
async function goOnAfter(place: BackupPlace, output: string): Promise<string> {
  const lines = output.split('\n');
  const removed = lines.find((line) => /requested WAL segment \S+ has already been removed/.test(line));
  if (removed === undefined) {
    return (
      lastMeaningfulLine(lines.filter((line) => !line.endsWith('disconnected')).join('\n')) ?? 'pg_receivewal ended'
    );
  }
  await sealFinished(place);
  const aside = join(place.local.root, `lost-${Date.now()}`);
  mkdirSync(aside, { mode: 0o700 });
  readdirSync(place.local.incoming).forEach((name) => renameSync(join(place.local.incoming, name), join(aside, name)));
  return `the archive has a hole: ${removed.replace(/^.*ERROR:\s*/, '')}; it goes on from the slot, take a backup`;
}

/** Moves what is finished into the repository. May be called by several kpipes at once. Returns the names it moved. */
export async function sealFinished({ local, repository, keys }: BackupPlace): Promise<readonly string[]> {
  const files = readdirSync(local.incoming).toSorted();
  const newest = files.findLast((name) => /^[0-9A-F]{24}/.test(name));
  const moved: string[] = [];
  for (const name of files.filter((file) => /^(?:[0-9A-F]{24}|[0-9A-F]{8}\.history)$/.test(file))) {
    const target = sealedName(`${name}.zst`, keys.encryption);
    const path = join(local.incoming, name);
    try {
      const stored = await repository.listWal(target);
      if (!stored.some((file) => file.name === target)) {
        await repository.writeWal(target, sealed(compressed(createReadStream(path)), keys.encryption));
        moved.push(name);
      }
    } catch (error) {
      if (!existsSync(path)) {
        continue;
      }
      if (error instanceof KpipeError) {
        throw error;
      }
      throw new KpipeError('KPIPE_BACKUP_FAILED', `${name} cannot be stored in the archive: ${messageOf(error)}`, {
        next: `look at ${repository.title}: space, rights`,
        cause: error,
      });
    }
    // pg_receivewal goes on from the newest file that it finds.
    if (name !== newest) {
      rmSync(path, { force: true });
    }
  }
  return moved;
}

/** What is held, finished or not. */
export async function listArchive({ local, repository }: BackupPlace): Promise<readonly ArchivedSegment[]> {
  // In this order: what is moved from the one to the other meanwhile is seen at least once.
  const names = readdirSync(local.incoming);
  const archived = await repository.listWal();
  const finished = archived.map(({ name }) => ({ name: name.split('.')[0] ?? '', complete: true }));
  const incoming = names.map((name) => {
    return { name: name.replace(/\.partial$/, ''), complete: !name.endsWith('.partial') };
  });
  return [...finished, ...incoming].filter(({ name }) => /^[0-9A-F]{24}$/.test(name));
}

/**
 * Writes a segment's plain bytes into a directory. @throws CheckFailed KEY, WAL_CORRUPT, WAL_GAP
 */
export async function fetchSegment(
  place: BackupPlace,
  { name, complete }: ArchivedSegment,
  segmentBytes: number,
  directory: string,
): Promise<void> {
  const target = join(directory, name);
  if (!complete) {
    copyPartial(join(place.local.incoming, `${name}.partial`), target, segmentBytes);
    if (existsSync(target)) {
      return;
    }
  }
  const stored = (await place.repository.listWal(`${name}.`))[0]?.name;
  const local = join(place.local.incoming, name);
  try {
    if (stored !== undefined) {
      const plain = unsealed(place.repository.readWal(stored), stored, place.keys.encryption);
      await pipeline(plain, createWriteStream(target, { mode: 0o600 }));
    } else {
      copyFileSync(local, target);
    }
  } catch (error) {
    // A store that is away says nothing about the archive.
    if (error instanceof KpipeError) {
      throw error;
    }
    if (error instanceof UnreadableFile) {
      throw new CheckFailed(error.reason === 'key' ? 'KEY' : 'WAL_CORRUPT', `${stored ?? name}: ${error.message}`);
    }
    if (isFull(error)) {
      throw new CheckFailed('NO_SPACE', `${directory} is full`);
    }
    throw new CheckFailed('WAL_CORRUPT', `${stored ?? name} cannot be read: ${messageOf(error)}`);
  }
  const { size } = statSync(target);
  if (size !== segmentBytes) {
    throw new CheckFailed('WAL_CORRUPT', `${stored ?? name} holds ${size} bytes, a segment has ${segmentBytes}`);
  }
}

export function isFull(error: unknown): boolean {
  return /ENOSPC|EDQUOT|No space left/.test(messageOf(error));
}

const walPageBytes = 8192;

/**
 * It is being written: what is there now, filled up with zeros. From its end to its beginning, a page at a time: the other
 * way the writer could pass the reader, and leave a hole of zeros in the copy with records behind it.
 */
function copyPartial(source: string, target: string, segmentBytes: number): void {
  if (!existsSync(source)) {
    return;
  }
  const [from, to] = [openSync(source, 'r'), openSync(target, 'w', 0o600)];
  try {
    ftruncateSync(to, segmentBytes);
    const page = Buffer.alloc(walPageBytes);
    for (let at = segmentBytes - walPageBytes; at >= 0; at -= walPageBytes) {
      const bytes = readSync(from, page, 0, walPageBytes, at);
      if (page.subarray(0, bytes).some((byte) => byte !== 0)) {
        writeSync(to, page, 0, bytes, at);
      }
    }
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

/** Waits until the archive holds a finished segment. @throws KPIPE_BACKUP_FAILED with what the receiver said */
export async function waitUntilArchived(
  place: BackupPlace,
  segment: string,
  options: { readonly deadlineMs: number; readonly signal: AbortSignal; readonly trouble: () => string | undefined },
): Promise<void> {
  const deadline = performance.now() + options.deadlineMs;
  for (;;) {
    await sealFinished(place);
    const stored = await place.repository.listWal(`${segment}.`);
    if (stored.length > 0) {
      return;
    }
    options.signal.throwIfAborted();
    if (performance.now() > deadline) {
      const reason = options.trouble();
      throw new KpipeError(
        'KPIPE_BACKUP_FAILED',
        `segment ${segment} did not reach the archive within ${Math.round(options.deadlineMs / 1000)} s${reason === undefined ? '' : `: ${reason}`}`,
        {
          next: 'the backup was given up: without its write-ahead log it cannot be trusted; look at the slot and at the repository',
        },
      );
    }
    await wait(100, options.signal);
  }
}
