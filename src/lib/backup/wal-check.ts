import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { archiveRange, type ArchivedSegment } from './archive-range.ts';
import { formatLsn, parseLsn, parseSegmentName, segmentName, segmentStart } from './lsn.ts';
import type { BackupPlace } from './place.ts';
import { programEnvironment, run, type Ended, type Workspace } from './programs.ts';
import type { PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';
import { fetchSegment, listArchive } from './wal-archive.ts';

/**
 * Proves the archive from a backup's start to its tail: no segment missing, and every record read with its checksum by
 * pg_waldump. Segments are fetched a window at a time, two windows overlapping by one segment, so that a record across
 * the border is read too. Those up to `neededLsn` stay, for the recovery.
 */
export interface WalQuestion {
  readonly timeline: number;
  readonly segmentBytes: number;
  readonly startLsn: bigint;
  readonly neededLsn: bigint;
  /** Segments behind `neededLsn` stay too. */
  readonly keepAll?: boolean;
  /** Where the plain segments go. */
  readonly directory: string;
}

export interface WalProof {
  readonly segments: number;
  /** The first byte after the last whole record. */
  readonly tailLsn: bigint;
  /** Where the last whole record begins. */
  readonly lastRecordLsn: bigint;
  /** Time of the last commit that the archive holds; null when its last segments hold none. */
  readonly lastCommitAtMs: number | null;
}

export interface WalTools {
  readonly place: BackupPlace;
  readonly programs: PostgresPrograms;
  readonly workspace: Workspace;
  readonly signal: AbortSignal;
}

const windowSegments = 8;
const walPageBytes = 8192;
const pageHeaderBytes = 24;

/** @throws CheckFailed WAL_GAP, WAL_CORRUPT, TARGET_NOT_REACHED, KEY, NO_SPACE */
export async function proveWal(tools: WalTools, question: WalQuestion): Promise<WalProof> {
  const { segmentBytes, startLsn, neededLsn, directory } = question;
  const range = archiveRange(await listArchive(tools.place), question);
  if (range.kind === 'gap') {
    throw new CheckFailed('WAL_GAP', range.detail);
  }
  const { segments } = range;
  const fetched = new Set<string>();
  let tailLsn = startLsn;
  for (let first = 0; first < segments.length; first += windowSegments - 1) {
    const window = segments.slice(first, first + windowSegments);
    for (const segment of window.filter(({ name }) => !fetched.has(name))) {
      tools.signal.throwIfAborted();
      await fetchSegment(tools.place, segment, segmentBytes, directory);
      fetched.add(segment.name);
    }
    const isLast = first + windowSegments >= segments.length;
    tailLsn = await readWindow(tools, question, window, isLast);
    dropSurplus(question, window.slice(0, isLast ? window.length : -1), fetched, isLast);
    if (isLast) {
      break;
    }
  }
  if (tailLsn < neededLsn) {
    throw new CheckFailed(
      'TARGET_NOT_REACHED',
      `the last whole record ends at ${formatLsn(tailLsn)}, the backup is compared at ${formatLsn(neededLsn)}`,
    );
  }
  const last = await lastRecords(tools, question, segments.slice(-2));
  segments.slice(-2).forEach(({ name }) => dropUnneeded(question, name));
  return { segments: segments.length, tailLsn, ...last };
}

/** Reads a window's records; the position after the last one. */
async function readWindow(
  tools: WalTools,
  { directory, startLsn, segmentBytes, timeline }: WalQuestion,
  window: readonly ArchivedSegment[],
  isLast: boolean,
): Promise<bigint> {
  const place = window.flatMap(({ name }) => parseSegmentName(name, segmentBytes) ?? []);
  const first = place[0];
  const last = place.at(-1);
  if (first === undefined || last === undefined) {
    return startLsn;
  }
  const windowStart = segmentStart(first, segmentBytes);
  const from = windowStart > startLsn ? windowStart : startLsn;
  const end = segmentStart({ timeline, number: last.number + 1n }, segmentBytes);
  const ended = await waldump(tools, [
    '-p',
    directory,
    '-t',
    String(timeline),
    '-s',
    formatLsn(from),
    '-e',
    formatLsn(end),
    '-q',
  ]);
  if (ended.code === 0) {
    return end;
  }
  const failure = describeFailure(ended);
  const stoppedAt = failure.lsn;
  const segment =
    stoppedAt === undefined
      ? undefined
      : segmentName({ timeline, number: stoppedAt / BigInt(segmentBytes) }, segmentBytes);
  const isTail =
    isLast && stoppedAt !== undefined && window.at(-1)?.complete === false && segment === window.at(-1)?.name;
  if (
    stoppedAt !== undefined &&
    segment !== undefined &&
    isTail &&
    isUnfinished(join(directory, segment), stoppedAt, segmentBytes)
  ) {
    return stoppedAt;
  }
  throw new CheckFailed('WAL_CORRUPT', `${segment ?? `after ${formatLsn(from)}`}: ${failure.text}`);
}

/** pg_waldump's last line, and the position where it stopped: the second of the two that it names. */
export function describeFailure({ output }: Pick<Ended, 'output'>): {
  readonly text: string;
  readonly lsn: bigint | undefined;
} {
  const text =
    output
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^.*pg_waldump: (?:error|fatal): /, '') ?? '';
  const positions = [...text.matchAll(/\b([0-9A-F]{1,8}\/[0-9A-F]{1,8})\b/g)].flatMap(
    ([, lsn = '']) => parseLsn(lsn) ?? [],
  );
  return { text, lsn: positions.at(-1) };
}

/**
 * Whether the log simply ends at a position: what follows is nothing, or a record whose end was not received. A record's
 * first four bytes are its length; whatever was received lies before the file's last byte that is not zero.
 */
function isUnfinished(file: string, stoppedAt: bigint, segmentBytes: number): boolean {
  const offset = Number(stoppedAt % BigInt(segmentBytes));
  const rest = Buffer.alloc(segmentBytes - offset);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, rest, 0, rest.length, offset);
  } finally {
    closeSync(handle);
  }
  const received = rest.findLastIndex((byte) => byte !== 0) + 1;
  // A record that goes on on the next page has that page's header in its midst.
  const pages = Math.floor((offset + received - 1) / walPageBytes) - Math.floor(offset / walPageBytes);
  const ofRecord = received - pages * pageHeaderBytes;
  return received === 0 || (rest.length >= 4 && rest.readUInt32LE(0) > ofRecord) || received < 24;
}

const commitTime = /COMMIT(?:_PREPARED)? (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC/g;
const recordPosition = /\blsn: ([0-9A-F]+\/[0-9A-F]+),/g;

/** Of the archive's last segments: where the last record begins, and when the last commit was. */
async function lastRecords(
  tools: WalTools,
  { directory, timeline, startLsn, segmentBytes }: WalQuestion,
  segments: readonly ArchivedSegment[],
): Promise<Pick<WalProof, 'lastRecordLsn' | 'lastCommitAtMs'>> {
  const first = segments.flatMap(({ name }) => parseSegmentName(name, segmentBytes) ?? [])[0];
  const segmentFrom = first === undefined ? startLsn : segmentStart(first, segmentBytes);
  const from = formatLsn(segmentFrom > startLsn ? segmentFrom : startLsn);
  const count = BigInt(segments.length);
  const end = formatLsn(segmentStart({ timeline, number: (first?.number ?? 0n) + count }, segmentBytes));
  // Without an end it would look for the next segment for 5 s.
  const { output } = await waldump(tools, ['-p', directory, '-t', String(timeline), '-s', from, '-e', end]);
  const commit = [...output.matchAll(commitTime)].at(-1)?.[1];
  const record = [...output.matchAll(recordPosition)].at(-1)?.[1];
  return {
    lastRecordLsn: (record === undefined ? undefined : parseLsn(record)) ?? startLsn,
    lastCommitAtMs: commit === undefined ? null : Date.parse(`${commit.replace(' ', 'T')}Z`),
  };
}

function waldump({ programs, workspace, signal }: WalTools, args: readonly string[]): Promise<Ended> {
  const environment = programEnvironment(programs.bin);
  const program = { name: 'pg_waldump', file: join(programs.bin, 'pg_waldump'), args, environment };
  return run(workspace, program, signal);
}

function dropSurplus(
  question: WalQuestion,
  window: readonly ArchivedSegment[],
  fetched: Set<string>,
  isLast: boolean,
): void {
  // The last two stay until the time of the last commit was read from them.
  for (const { name } of isLast ? window.slice(0, -2) : window) {
    dropUnneeded(question, name);
    fetched.add(name);
  }
}

function dropUnneeded({ directory, segmentBytes, neededLsn, keepAll }: WalQuestion, name: string): void {
  if (keepAll === true) {
    return;
  }
  const place = parseSegmentName(name, segmentBytes);
  if (place !== undefined && segmentStart(place, segmentBytes) >= neededLsn) {
    rmSync(join(directory, name), { force: true });
  }
}
