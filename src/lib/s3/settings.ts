import type { Secret } from '../config/secrets.ts';

/** Where objects are kept, and as whom. */
export interface S3Settings {
  readonly bucket: string;
  /** Of every key: empty, or ending with `/`. */
  readonly prefix: string;
  /** Undefined: Amazon's, by the region. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** The bucket in the path, not in the name of the host. */
  readonly forcePathStyle: boolean;
  /** Undefined: AWS's own chain of environment, files and roles. */
  readonly credentials: S3Credentials | undefined;
  /** How long a store that has answered before may be away. */
  readonly giveUpMs: number;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

/** `s3://bucket/prefix`, as kpipe.yaml names it. */
export function locationOf({ bucket, prefix }: S3Settings): string {
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix.slice(0, -1)}`}`;
}
