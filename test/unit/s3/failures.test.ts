import { describe, expect, test } from 'vitest';

import { CutShort, isTransient, s3Failure } from '../../../src/lib/s3/failures.ts';
import type { S3Settings } from '../../../src/lib/s3/settings.ts';

const settings: S3Settings = {
  bucket: 'shop',
  prefix: 'prod/',
  endpoint: undefined,
  region: 'eu-central-1',
  forcePathStyle: false,
  credentials: undefined,
  giveUpMs: 60_000,
};

/** As the SDK throws it. */
function sdkError(name: string, httpStatusCode: number | undefined, more: object = {}): Error {
  return Object.assign(new Error(`${name} was said`), { name, $metadata: { httpStatusCode }, ...more });
}

const system = (code: string): Error => Object.assign(new Error(`connect ${code}`), { code });

describe('what an S3 store means by its errors', () => {
  test.each([
    [sdkError('NoSuchBucket', 404), 'KPIPE_S3_FAILED', 'there is no bucket shop', 'aws s3 mb s3://shop'],
    [sdkError('AccessDenied', 403), 'KPIPE_S3_FAILED', 'not allowed in s3://shop/prod', 's3:PutObject'],
    [sdkError('XUserNotFound', 403), 'KPIPE_S3_FAILED', 'refuses the credentials', 'accessKeyId'],
    [sdkError('ExpiredToken', 400), 'KPIPE_S3_FAILED', 'does not accept the credentials', 'sessionToken'],
    [sdkError('RequestTimeTooSkewed', 403), 'KPIPE_S3_FAILED', 'clock', 'timedatectl'],
    [
      sdkError('AuthorizationHeaderMalformed', 400, { Region: 'us-west-2' }),
      'KPIPE_S3_FAILED',
      'not in region eu-central-1, the store says us-west-2',
      'postgres.backups.s3.region',
    ],
    [sdkError('PermanentRedirect', 301), 'KPIPE_S3_FAILED', 'not in region', 'postgres.backups.s3.region'],
    [sdkError('CredentialsProviderError', undefined), 'KPIPE_S3_NO_CREDENTIALS', 'no credentials', 'AWS_ACCESS_KEY_ID'],
    [new Error('Region is missing'), 'KPIPE_CONFIG_INVALID', 'region', 'AWS_REGION'],
    [system('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'KPIPE_S3_FAILED', 'no TLS', 'NODE_EXTRA_CA_CERTS'],
    [system('ECONNREFUSED'), 'KPIPE_S3_UNREACHABLE', 'away or busy', 'endpoint'],
    [sdkError('SlowDown', 503), 'KPIPE_S3_UNREACHABLE', 'away or busy', 'endpoint'],
    [sdkError('TeaPot', 418), 'KPIPE_S3_FAILED', 'TeaPot', 'status'],
  ] as const)('given %s, then its code, what it was, and the next step', (error, code, text, next) => {
    const failure = s3Failure('storing wal/x', error, settings);

    expect(failure).toMatchObject({
      code,
      message: expect.stringContaining(text),
      next: expect.stringContaining(next),
    });
  });

  test('given an error that carries what was signed, then neither the text nor the cause has it', () => {
    const error = sdkError('SignatureDoesNotMatch', 403, { StringToSign: 'Hush', SignatureProvided: 'Hush' });

    const failure = s3Failure('listing', error, settings);

    expect(JSON.stringify([failure, failure.message, failure.cause, String(failure.cause)])).not.toContain('Hush');
    expect(Object.keys(failure.cause as object)).toEqual([]);
  });

  test.each([
    [sdkError('InternalError', 200), true],
    [sdkError('Unknown', 500), true],
    [sdkError('Unknown', 429), true],
    [sdkError('NotImplemented', 501), false],
    [sdkError('AccessDenied', 403), false],
    [sdkError('AbortError', undefined), false],
    [sdkError('TimeoutError', undefined), true],
    [system('ECONNRESET'), true],
    [system('EAI_AGAIN'), true],
    [system('CERT_HAS_EXPIRED'), false],
    [new CutShort('ended early'), true],
    [new Error('socket hang up'), true],
    [new TypeError('x is not a function'), false],
  ])('given %s, is it worth another attempt: %s', (error, worth) => {
    expect(isTransient(error)).toBe(worth);
  });
});
