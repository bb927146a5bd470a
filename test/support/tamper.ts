import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { findBackup } from '../../src/lib/backup/catalogue.ts';
import type { BackupEntry } from '../../src/lib/backup/entry.ts';
import { signDocument } from '../../src/lib/backup/keys.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { sealed, unsealed } from '../../src/lib/backup/stored-file.ts';

/**
 * Damage that no checksum of the repository shows: the file is opened with the right key, changed, sealed and signed again,
 * as if it had been wrong when it was stored.
 */
export async function resealed(
  place: BackupPlace,
  directory: string,
  id: string,
  prefix: string,
  change: (plain: Buffer) => Buffer,
): Promise<void> {
  const { entry } = await findBackup(place, id);
  const file = entry.files.find(({ name }) => name.startsWith(prefix))!;
  const plain = await wholeOf(unsealed(place.repository.readFile(id, file.name), file.name, place.keys.encryption));
  const changed = change(plain);
  const inner = file.name.includes('.zst')
    ? zstdCompressSync(changed)
    : file.name.includes('.gz')
      ? gzipSync(changed)
      : changed;
  const stored = await wholeOf(sealed(Readable.from([inner]), place.keys.encryption));
  writeFileSync(join(directory, 'repository', 'backups', id, file.name), stored);
  const sha256 = createHash('sha256').update(stored).digest('hex');
  const files = entry.files.map((other) => (other === file ? { ...file, bytes: stored.length, sha256 } : other));
  resigned(place, directory, { ...entry, files });
}

export function resigned({ keys }: BackupPlace, directory: string, entry: BackupEntry): void {
  const path = join(directory, 'repository', 'backups', entry.id, 'entry.json');
  writeFileSync(path, JSON.stringify(signDocument(entry, keys.signing)));
}

/** A segment of the archive, opened, changed and sealed again. */
export async function resealedWal(
  place: BackupPlace,
  directory: string,
  name: string,
  change: (plain: Buffer) => Buffer,
): Promise<void> {
  const plain = await wholeOf(unsealed(place.repository.readWal(name), name, place.keys.encryption));
  const stored = await wholeOf(sealed(Readable.from([zstdCompressSync(change(plain))]), place.keys.encryption));
  writeFileSync(join(directory, 'repository', 'wal', name), stored);
}

async function wholeOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await stream.toArray());
}

interface TarMember {
  readonly name: string;
  readonly header: number;
  readonly bytes: number;
}

function members(tar: Buffer): readonly TarMember[] {
  const found: TarMember[] = [];
  for (let header = 0; tar[header] !== 0;) {
    const name = tar.toString('latin1', header, tar.indexOf(0, header));
    const bytes = Number.parseInt(tar.toString('latin1', header + 124, header + 135), 8);
    found.push({ name, header, bytes });
    header += 512 + Math.ceil(bytes / 512) * 512;
  }
  return found;
}

function member(tar: Buffer, pattern: RegExp): TarMember {
  const found = members(tar).find(({ name, bytes }) => pattern.test(name) && bytes >= 8192);
  if (found === undefined) {
    throw new Error(`no file of a page or more in the tar matches ${String(pattern)}`);
  }
  return found;
}

/** One byte of a data file turned over. */
export function flippedInTar(tar: Buffer, pattern: RegExp): Buffer {
  const { header } = member(tar, pattern);
  const at = header + 512 + 4000;
  const changed = Buffer.from(tar);
  changed[at] = changed[at]! ^ 0xff;
  return changed;
}

export function missingInTar(tar: Buffer, pattern: RegExp): Buffer {
  const { header, bytes } = member(tar, pattern);
  const end = header + 512 + Math.ceil(bytes / 512) * 512;
  return Buffer.concat([tar.subarray(0, header), tar.subarray(end)]);
}

/** The last page of a data file is gone; the header says so. */
export function truncatedInTar(tar: Buffer, pattern: RegExp): Buffer {
  const { header, bytes } = member(tar, pattern);
  const shorter = bytes - 8192;
  const changed = Buffer.from(tar.subarray(header, header + 512));
  changed.write(`${shorter.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  changed.fill(' ', 148, 156);
  const sum = changed.reduce((total, byte) => total + byte, 0);
  changed.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  const end = header + 512 + bytes;
  return Buffer.concat([tar.subarray(0, header), changed, tar.subarray(header + 512, end - 8192), tar.subarray(end)]);
}

/** Replaces the first occurrence of a text in a file by another of the same length. */
export function rot(path: string, from: string, to: string): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(from);
  if (at === -1 || from.length !== to.length) {
    throw new Error(`${from} is not in ${path}`);
  }
  bytes.write(to, at, 'latin1');
  writeFileSync(path, bytes);
}
