/** What every repository of backups must do: one suite, run on each kind. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { afterAll, beforeEach, describe, expect, test } from 'vitest';

import { DirectoryRepository } from '../../src/lib/backup/directory-repository.ts';
import { newBackupId } from '../../src/lib/backup/entry.ts';
import type { BackupRepository } from '../../src/lib/backup/repository.ts';
import { S3Repository } from '../../src/lib/backup/s3-repository.ts';
import { s3ServerOfFile } from '../support/s3-server.ts';
import { s3Store } from '../support/s3-store.ts';

const root = mkdtempSync(join(tmpdir(), 'kpipe-repository-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const server = await s3ServerOfFile();
server.bucket('backups-of-tests');

const inBucket = (name: string): S3Repository =>
  new S3Repository(s3Store(server.endpoint, 'backups-of-tests', `${name}/`), () => 'this machine');

const staging = { expectedBytes: null, signal: new AbortController().signal };
const minutes = (count: number): number => Date.UTC(2026, 0, 1) + count * 60_000;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const bytesOf = async (stream: Readable): Promise<Buffer> => Buffer.concat(await stream.toArray());
const documents = async (repository: BackupRepository, ids: readonly string[]): Promise<unknown[]> =>
  Promise.all(ids.map((id) => repository.readEntry(id)));

async function published(repository: BackupRepository, id: string, files: Record<string, Buffer>): Promise<void> {
  const staged = await repository.stage(id, staging);
  for (const [name, bytes] of Object.entries(files)) {
    await staged.write(name, Readable.from([bytes]));
  }
  await staged.publish({ id });
}

/** Ends in an error after its first chunk. */
function broken(): Readable {
  return Readable.from(
    (async function* chunks() {
      yield Buffer.alloc(1000, 1);
      await Promise.resolve();
      throw new Error('the source broke');
    })(),
  );
}

describe.each([
  ['a directory', (name: string): BackupRepository => new DirectoryRepository(join(root, name))],
  ['a bucket', (name: string): BackupRepository => inBucket(name)],
])('%s', (_kind, open) => {
  let repository: BackupRepository;
  let count = 0;
  let name: string;

  beforeEach(async () => {
    count += 1;
    name = `repository-${count}-${process.pid}-${Date.now()}`;
    repository = open(name);
    await repository.prepare();
  });

  test('given nothing was stored, when it is read, then it is empty', async () => {
    expect(await repository.prepare()).toBe('found');
    expect(await repository.listBackups()).toEqual([]);
    expect(await repository.listWal()).toEqual([]);
    expect(await repository.readReports(newBackupId(minutes(0)))).toEqual([]);
    expect(await repository.clearUnpublished()).toEqual([]);
  });

  test('given files of several sizes, when their backup is published, then only then it is listed, and each reads back', async () => {
    const id = newBackupId(minutes(9));
    const contents = [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(300_000, 7)];
    const staged = await repository.stage(id, staging);

    const stored = await Promise.all(
      contents.map((bytes, index) => staged.write(`file-${index}`, Readable.from(bytes.length === 0 ? [] : [bytes]))),
    );
    const before = await repository.listBackups();
    const early = await bytesOf(staged.read('file-2'));
    await staged.publish({ id, note: 'a document' });

    expect(stored).toEqual(
      contents.map((bytes, index) => ({ name: `file-${index}`, bytes: bytes.length, sha256: sha256(bytes) })),
    );
    expect(early.equals(contents[2]!)).toBe(true);
    expect(before).toEqual([]);
    expect(await repository.listBackups()).toEqual([id]);
    expect(await repository.readEntry(id)).toEqual({ id, note: 'a document' });
    for (const [index, bytes] of contents.entries()) {
      expect((await bytesOf(repository.readFile(id, `file-${index}`))).equals(bytes)).toBe(true);
    }
  });

  test('given several backups, when they are listed, then the oldest is first; and one that is removed is gone with its reports', async () => {
    const ids = [3, 1, 2].map((minute) => newBackupId(minutes(minute)));
    for (const id of ids) {
      await published(repository, id, { data: Buffer.from(id) });
      await repository.writeReport(id, 'b.json', JSON.stringify({ second: id }));
      await repository.writeReport(id, 'a.json', JSON.stringify({ first: id }));
    }
    const [removed, ...kept] = ids.toSorted();
    const reports = await repository.readReports(removed!);

    await repository.removeBackup(removed!);

    expect(reports).toEqual([{ first: removed }, { second: removed }]);
    expect(await repository.listBackups()).toEqual(kept);
    expect(await documents(repository, kept)).toEqual(kept.map((id) => ({ id })));
    expect(await repository.readReports(removed!)).toEqual([]);
    expect(await repository.readReports(kept[0]!)).toHaveLength(2);
    await expect(repository.readEntry(removed!)).rejects.toMatchObject({ code: 'KPIPE_BACKUP_MISSING' });
    await expect(bytesOf(repository.readFile(removed!, 'data'))).rejects.toThrow('no such');
    expect(await repository.clearUnpublished()).toEqual([]);
  });

  test('given a backup that was discarded, and one whose run just ended, when the next run clears up, then nothing is left of either, and the whole one stays', async () => {
    const [whole, discarded, left] = [4, 5, 6].map((minute) => newBackupId(minutes(minute)));
    await published(repository, whole!, { data: Buffer.from('whole') });
    const first = await repository.stage(discarded!, staging);
    await first.write('data', Readable.from(['gone']));
    await first.discard();
    const second = await repository.stage(left!, staging);
    await second.write('data', Readable.from(['left']));
    const again = open(name);

    expect(await again.clearUnpublished()).toEqual([left]);

    expect(await again.listBackups()).toEqual([whole]);
    expect(await again.clearUnpublished()).toEqual([]);
    await expect(bytesOf(second.read('data'))).rejects.toThrow('no such');
  });

  test.each(['20260101T000000Z-abcdef', '../../etc', 'latest'])(
    'given no backup %s, when its entry is asked for, then KPIPE_BACKUP_MISSING',
    async (id) => {
      await expect(repository.readEntry(id)).rejects.toMatchObject({ code: 'KPIPE_BACKUP_MISSING' });
    },
  );

  test('given a source that breaks, when it is stored, then its error is told and nothing of it is there', async () => {
    const staged = await repository.stage(newBackupId(minutes(7)), staging);

    await expect(staged.write('data', broken())).rejects.toThrow('the source broke');
    await expect(repository.writeWal('000000010000000000000001.zst', broken())).rejects.toThrow('the source broke');

    expect(await repository.listWal()).toEqual([]);
    await staged.discard();
  });

  test('given segments, when they are listed, read, stored again and removed, then the archive holds what it should', async () => {
    const names = [2, 1, 3].map((number) => `00000001000000000000000${number}.zst`);
    for (const each of names) {
      await repository.writeWal(each, Readable.from([Buffer.from(each)]));
    }
    await repository.writeWal(names[0]!, Readable.from(['again']));

    expect(await repository.listWal()).toEqual([
      { name: names[1], bytes: 28 },
      { name: names[0], bytes: 5 },
      { name: names[2], bytes: 28 },
    ]);
    expect(await repository.listWal('000000010000000000000002.')).toEqual([{ name: names[0], bytes: 5 }]);
    expect((await bytesOf(repository.readWal(names[0]!))).toString()).toBe('again');

    await repository.removeWal([names[0]!, names[1]!]);

    expect(await repository.listWal()).toEqual([{ name: names[2], bytes: 28 }]);
    await expect(bytesOf(repository.readWal(names[0]!))).rejects.toThrow('no such');
  });
});
