import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmdirSync, statfsSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from 'vitest';

import { postgresUser } from '../../src/lib/sandbox/postgres.ts';

/** A file system of a few tens of megabytes, in memory, which PostgreSQL may write to. */
export interface SmallDisk {
  readonly path: string;
  /** Takes all room but so much. */
  readonly fill: (leaveBytes: number) => void;
  /** Gives back what `fill` took. */
  readonly clear: () => void;
}

/** Call it at the top level of a test file, before what uses it. Answers why there is none where none can be mounted. */
export function smallDisk(megabytes: number): SmallDisk | { readonly missing: string } {
  const path = mkdtempSync(join(tmpdir(), 'kpipe-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path], { encoding: 'utf8' });
  if (mounted.status !== 0) {
    rmdirSync(path);
    const why = mounted.error?.message ?? mounted.stderr.trim();
    return { missing: `no tmpfs can be mounted here (${why}): a full disk needs root` };
  }
  const user = postgresUser();
  if (user !== undefined) {
    chownSync(path, user.uid, user.gid);
  }
  afterAll(() => {
    spawnSync('umount', ['-l', path]);
    rmdirSync(path);
  });
  const filler = join(path, 'filler');
  return {
    path,
    fill: (leaveBytes) => {
      const { bavail, bsize } = statfsSync(path);
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - leaveBytes)));
    },
    clear: () => {
      truncateSync(filler, 0);
      unlinkSync(filler);
    },
  };
}
