import { describe, expect, test } from 'vitest';

import { mismatchOf } from '../../../src/lib/backup/chain.ts';
import { combinedBytes } from '../../../src/lib/backup/combine.ts';
import type { BackupEntry } from '../../../src/lib/backup/entry.ts';
import { parseEntry } from '../../../src/lib/backup/entry.ts';
import { unfitParent } from '../../../src/lib/backup/increment.ts';

const full: BackupEntry = {
  version: 1,
  id: '20261123T065712Z-3fa1c2',
  kind: 'full',
  increment: null,
  pipeline: 'shop',
  startedAt: '2026-11-23T06:57:12Z',
  completedAt: '2026-11-23T06:58:12Z',
  systemIdentifier: '7711',
  postgresVersion: '18.6',
  timeline: 1,
  segmentBytes: 1 << 24,
  startLsn: '0/2000028',
  endLsn: '0/2000100',
  archivedLsn: '0/3000000',
  dataChecksums: true,
  bootstrapRole: 'postgres',
  database: 'app',
  clusterBytes: 1000,
  storedBytes: 100,
  compression: 'zstd',
  encryptionKeyId: 'a1',
  files: [],
  fingerprint: null,
  warnings: [],
};
const increment: BackupEntry = {
  ...full,
  id: '20261123T075712Z-4fa1c2',
  kind: 'incremental',
  increment: { parent: full.id, parentStartLsn: full.startLsn, parentManifestSha256: 'a'.repeat(64), copiedBytes: 50 },
  startLsn: '0/5000028',
  clusterBytes: 1010,
};

describe('a link', () => {
  test('given the parent that it was taken against, then it fits', () => {
    expect(mismatchOf(increment, full)).toBeUndefined();
  });

  test.each([
    [{ systemIdentifier: '8822' }, 'is of another cluster: 8822, not 7711'],
    [{ timeline: 2 }, 'is of timeline 2, not 1'],
    [{ postgresVersion: '17.10' }, 'is of PostgreSQL 17.10, not 18.6'],
    [{ startLsn: '0/2000060' }, 'begins at 0/2000060, not at 0/2000028'],
  ])('given a parent with %o, then it does not', (wrong, why) => {
    expect(mismatchOf(increment, { ...full, ...wrong })).toBe(why);
  });

  test('given itself or a younger one as parent, then it does not: a chain has an end', () => {
    const itself = { ...increment, increment: { ...increment.increment!, parentStartLsn: increment.startLsn } };

    expect(mismatchOf(itself, itself)).toContain('which is not before');
  });
});

describe('what can be built on', () => {
  const source = { systemIdentifier: '7711', timeline: 1, version: '18.6', major: 18, summarizesWal: true };

  test.each([
    [{}, 'a1', undefined],
    [{ postgresVersion: '18.4' }, 'a1', undefined],
    [{ systemIdentifier: '8822' }, 'a1', 'another cluster'],
    [{ timeline: 2 }, 'a1', 'timeline 2'],
    [{ postgresVersion: '17.10' }, 'a1', 'PostgreSQL 17.10'],
    [{}, 'b2', 'encrypted with key a1, kpipe.yaml names b2'],
    [{}, null, 'kpipe.yaml names none'],
  ])('given an entry with %o and key %s, then: %s', (more, key, reason) => {
    const found = unfitParent({ ...full, ...more }, source, key);

    expect(found).toEqual(reason === undefined ? undefined : expect.stringContaining(reason));
  });
});

test('given a chain, then the disk must hold its links and what is made of them; a full one only itself', () => {
  expect(combinedBytes([full])).toBe(1000);
  expect(combinedBytes([full, increment])).toBe(1000 + 50 + 1010);
});

test('given an entry of before there were increments, then it is a full one; a kind that its parent belies is none', () => {
  const { increment: _none, ...before } = full;

  expect(parseEntry(before)).toEqual(full);
  expect(parseEntry({ ...full, kind: 'incremental' })).toBeUndefined();
  expect(parseEntry({ ...increment, kind: 'full' })).toBeUndefined();
  expect(parseEntry(increment)).toEqual(increment);
});
