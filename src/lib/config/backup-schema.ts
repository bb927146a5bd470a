import { z } from 'zod';

import { count, durationMs, identifier } from './values.ts';

const s3Access = z
  .strictObject({
    /** Another store than Amazon's. */
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
    region: z.string().min(1).optional(),
    /** The bucket in the path; the default wherever `endpoint` is set. */
    forcePathStyle: z.boolean().optional(),
    accessKeyId: z.string().min(1).optional(),
    secretAccessKey: z.string().min(1).optional(),
    sessionToken: z.string().min(1).optional(),
    /** How long the store may be away before a command fails. */
    giveUp: durationMs.default(60_000),
  })
  .superRefine((value, context) => {
    if ((value.accessKeyId === undefined) !== (value.secretAccessKey === undefined)) {
      context.addIssue({ code: 'custom', message: 'accessKeyId and secretAccessKey go together' });
    }
  });

/** `postgres.backups` of kpipe.yaml. */
export const backups = z.strictObject({
  /** A directory, or `s3://bucket/prefix`. */
  repository: z
    .string()
    .min(1)
    .superRefine((text, context) => {
      const scheme = /^([a-z0-9]+):\/\//.exec(text)?.[1];
      if (scheme !== undefined && scheme !== 's3') {
        context.addIssue({
          code: 'custom',
          message: `not yet in ${scheme}://: a directory, or s3://bucket/prefix`,
        });
      } else if (
        scheme === 's3' &&
        !/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[A-Za-z0-9!_.*'()/-]*)?$/.test(text)
      ) {
        context.addIssue({ code: 'custom', message: 'not s3://bucket/prefix with a name that S3 takes' });
      }
    }),
  /** Of an s3:// repository. Without keys, AWS's own chain: environment, ~/.aws, the role of the machine. */
  s3: s3Access.prefault({}),
  /** What this machine receives and works on; default: `local` in the directory, `backup-local` beside kpipe.yaml for s3://. */
  local: z.string().min(1).optional(),
  walArchive: z.strictObject({ method: z.literal('receivewal'), slot: identifier }).optional(),
  keep: z.strictObject({ full: count.default(7), window: durationMs.default(14 * 86_400_000) }).prefault({}),
  encryption: z.strictObject({ key: z.string() }).optional(),
  /** Ed25519, PEM: the private key signs; a host that only verifies may hold the public one. */
  signing: z.strictObject({ key: z.string().default('${file:./backup-signing.key}') }).prefault({}),
  /** The replica whose replay is paused for the fingerprint; the first one when not named. */
  standby: z.string().min(1).optional(),
  /** Where `verify` restores to; needs room for the whole cluster. */
  scratch: z.string().min(1).optional(),
  /** How much of the newest history may be missing from the archive. */
  rpo: durationMs.default(15 * 60_000),
  /** Lets a pg_basebackup with CVE-2026-6475 talk to a server that is not on this machine. */
  trustServer: z.boolean().default(false),
  verify: z.strictObject({ queries: z.array(z.string()).default([]) }).prefault({}),
});
