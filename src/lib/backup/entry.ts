import { randomBytes } from 'node:crypto';

import { z } from 'zod';

/**
 * Terms. A *backup* is a base backup and what is known of it; its *entry* is the signed document that makes it exist: a
 * backup without a valid entry is none. The *archive* is the write-ahead log, received as it is written, a file a segment,
 * and the unfinished one. The *fingerprint* is what the database held at one LSN: restoring up to exactly there must give
 * it again. The *tail* is where the archive ends.
 *
 * LSNs are text (`0/3000148`) in these documents.
 */
const lsnText = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);

const tableFingerprint = z.strictObject({
  database: z.string(),
  table: z.string(),
  rows: z.string(),
  /** Sum of `hashtextextended` of every row, as text: it passes 2^63. */
  hash: z.string(),
});

const fingerprint = z.discriminatedUnion('method', [
  /** The whole database, with the standby's replay held at `lsn`. */
  z.strictObject({
    method: z.literal('standby'),
    lsn: lsnText,
    standby: z.string(),
    tables: z.array(tableFingerprint),
    notCompared: z.array(z.string()),
    ms: z.number(),
  }),
  /** Without a standby: the rows of the pipeline's tables below each partition's position. `lsn` is after that look. */
  z.strictObject({
    method: z.literal('watermark'),
    lsn: lsnText,
    database: z.string(),
    partitions: z.array(
      z.strictObject({
        table: z.string(),
        topic: z.string(),
        partition: z.int(),
        nextOffset: z.string(),
        rows: z.string(),
        hash: z.string(),
      }),
    ),
    ms: z.number(),
  }),
]);

const storedFile = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_.-]+$/),
  bytes: z.int(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** What an incremental backup is an increment of: it holds only what has changed since that one began. */
const increment = z.strictObject({
  parent: z.string(),
  parentStartLsn: lsnText,
  /** Of the backup_manifest that the server was shown. */
  parentManifestSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Uncompressed. */
  copiedBytes: z.int(),
});

const entrySchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/),
  kind: z.enum(['full', 'incremental']),
  /** Null for a full one. */
  increment: increment.nullable().default(null),
  pipeline: z.string(),
  startedAt: z.iso.datetime(),
  completedAt: z.iso.datetime(),
  systemIdentifier: z.string(),
  postgresVersion: z.string(),
  timeline: z.int(),
  segmentBytes: z.int(),
  startLsn: lsnText,
  endLsn: lsnText,
  /** The archive held everything before this LSN when the backup was done. */
  archivedLsn: lsnText,
  dataChecksums: z.boolean(),
  /** The role that initdb made: it is in every cluster, under whatever name. */
  bootstrapRole: z.string(),
  database: z.string(),
  /** Of the cluster, uncompressed; of an incremental backup's by the sizes of the databases. */
  clusterBytes: z.int(),
  storedBytes: z.int(),
  compression: z.enum(['zstd', 'gzip', 'none']),
  encryptionKeyId: z.string().nullable(),
  files: z.array(storedFile),
  fingerprint: fingerprint.nullable(),
  warnings: z.array(z.string()),
});

export type BackupEntry = z.output<typeof entrySchema>;
export type Fingerprint = z.output<typeof fingerprint>;
export type TableFingerprint = z.output<typeof tableFingerprint>;
export type Increment = z.output<typeof increment>;
export type StoredFile = z.output<typeof storedFile>;

/** The entry without its signature, or undefined where the document is none. */
export function parseEntry(value: unknown): BackupEntry | undefined {
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { signature: _signature, ...rest } = value as { readonly signature?: unknown };
  const parsed = entrySchema.safeParse(rest);
  return parsed.success && (parsed.data.kind === 'full') === (parsed.data.increment === null) ? parsed.data : undefined;
}

/** `20261123T065712Z-3fa1c2`: sorts by time, since the last part is the milliseconds, in hexadecimal, and three random digits. */
export function newBackupId(nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const ms = new Date(nowMs).getUTCMilliseconds().toString(16).padStart(3, '0');
  return `${stamp}-${ms}${randomBytes(2).toString('hex').slice(1)}`;
}

export function isBackupId(text: string): boolean {
  return entrySchema.shape.id.safeParse(text).success;
}
