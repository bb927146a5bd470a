import { Secret } from '../../src/lib/config/secrets.ts';
import { ObjectStore } from '../../src/lib/s3/object-store.ts';
import type { S3Settings } from '../../src/lib/s3/settings.ts';
import { s3Identity } from './s3-server.ts';

/** Settings for a test's server; the prefix ends with `/`. */
export function s3Settings(
  endpoint: string,
  bucket: string,
  prefix: string,
  more: Partial<S3Settings> = {},
): S3Settings {
  return {
    bucket,
    prefix,
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: s3Credentials(s3Identity),
    giveUpMs: 20_000,
    ...more,
  };
}

export function s3Credentials(identity: typeof s3Identity): NonNullable<S3Settings['credentials']> {
  const scope = { directory: '/', env: {} };
  return {
    accessKeyId: identity.accessKeyId,
    secretAccessKey: new Secret(identity.secretAccessKey, scope),
    sessionToken: undefined,
  };
}

export function s3Store(...settings: Parameters<typeof s3Settings>): ObjectStore {
  return new ObjectStore(s3Settings(...settings));
}
