import { createHash } from 'node:crypto';
import { posix } from 'node:path';

import { z } from 'zod';

import { parseLsn } from './lsn.ts';

/**
 * backup_manifest, read by ourselves: pg_verifybackup of PostgreSQL 15 cannot read version 2 (17 and later). Its last line
 * is a SHA-256 of everything before it.
 */
export interface ManifestFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Manifest {
  readonly version: number;
  readonly files: readonly ManifestFile[];
  readonly walRanges: readonly { readonly timeline: number; readonly start: bigint; readonly end: bigint }[];
}

export interface FileDigest {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What of a manifest, or of the files that it lists, is not as it says. */
export class ManifestMismatch extends Error {
  override readonly name = 'ManifestMismatch';
}

const document = z.object({
  'PostgreSQL-Backup-Manifest-Version': z.union([z.literal(1), z.literal(2)]),
  Files: z.array(
    z.object({
      Path: z.string().optional(),
      'Encoded-Path': z.string().optional(),
      Size: z.int().min(0),
      'Checksum-Algorithm': z.literal('SHA256').optional(),
      Checksum: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
    }),
  ),
  'WAL-Ranges': z.array(z.object({ Timeline: z.int(), 'Start-LSN': z.string(), 'End-LSN': z.string() })).min(1),
  'Manifest-Checksum': z.string(),
});

/** @throws ManifestMismatch when it is damaged, or names a path outside the backup */
export function parseManifest(text: string): Manifest {
  const lastLine = text.lastIndexOf('"Manifest-Checksum"');
  const digest = createHash('sha256')
    .update(text.slice(0, Math.max(0, lastLine)))
    .digest('hex');
  const parsed = document.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new ManifestMismatch('backup_manifest is not a manifest with SHA-256 checksums');
  }
  if (parsed.data['Manifest-Checksum'] !== digest) {
    throw new ManifestMismatch('backup_manifest does not match its own checksum');
  }
  return {
    version: parsed.data['PostgreSQL-Backup-Manifest-Version'],
    files: parsed.data.Files.flatMap((file) => {
      const path = insidePath(file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8'));
      if (file.Checksum !== undefined && file['Checksum-Algorithm'] !== undefined) {
        return [{ path, bytes: file.Size, sha256: file.Checksum }];
      }
      // pg_combinebackup lists the log, too, and that without a checksum: its records have their own.
      if (path.startsWith('pg_wal/')) {
        return [];
      }
      throw new ManifestMismatch(`backup_manifest has no SHA-256 of ${path}`);
    }),
    walRanges: parsed.data['WAL-Ranges'].map((range) => ({
      timeline: range.Timeline,
      start: lsn(range['Start-LSN']),
      end: lsn(range['End-LSN']),
    })),
  };
}

function lsn(text: string): bigint {
  const value = parseLsn(text);
  if (value === undefined) {
    throw new ManifestMismatch('backup_manifest names no valid LSN');
  }
  return value;
}

/** A relative path that stays inside its root. @throws ManifestMismatch */
export function insidePath(path: string): string {
  const clean = path.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  const parts = clean.split('/');
  if (
    clean === '' ||
    clean.includes('\0') ||
    posix.isAbsolute(clean) ||
    parts.some((part) => part === '..' || part === '')
  ) {
    throw new ManifestMismatch(`the path ${JSON.stringify(path.slice(0, 100))} does not stay inside the backup`);
  }
  return clean;
}

export interface ManifestComparison {
  readonly missing: readonly string[];
  readonly changed: readonly string[];
  readonly unexpected: readonly string[];
}

/** Every file of the manifest against what is there. */
export function compareWithManifest(manifest: Manifest, found: readonly FileDigest[]): ManifestComparison {
  const byPath = new Map(found.map((file) => [file.path, file]));
  const listed = new Set(manifest.files.map(({ path }) => path));
  return {
    missing: manifest.files.filter(({ path }) => !byPath.has(path)).map(({ path }) => path),
    changed: manifest.files
      .filter(({ path, bytes, sha256 }) => {
        const file = byPath.get(path);
        return file !== undefined && (file.bytes !== bytes || file.sha256 !== sha256);
      })
      .map(({ path }) => path),
    unexpected: found.map(({ path }) => path).filter((path) => !listed.has(path)),
  };
}

/** `2 files differ from the manifest: base/5/1259, base/5/2619`; undefined when all is as it says. */
export function describeMismatch({ missing, changed, unexpected }: ManifestComparison): string | undefined {
  const parts = [
    ['missing', missing] as const,
    ['not as written', changed] as const,
    ['not in the manifest', unexpected] as const,
  ]
    .filter(([, paths]) => paths.length > 0)
    .map(([what, paths]) => {
      const more = paths.length > 3 ? ` and ${paths.length - 3} more` : '';
      return `${paths.length} ${what}: ${paths.slice(0, 3).join(', ')}${more}`;
    });
  return parts.length === 0 ? undefined : parts.join('; ');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
