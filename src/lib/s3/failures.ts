import { codeOf, KpipeError, messageOf, type ErrorCode } from '../errors.ts';
import { locationOf, type S3Settings } from './settings.ts';

/**
 * What an S3 store means by its errors. KPIPE_S3_UNREACHABLE: a later attempt may succeed (away, busy); it is what remains
 * after kpipe has tried again. KPIPE_S3_NO_CREDENTIALS and KPIPE_S3_FAILED: somebody has to do something first.
 */
const transientNames = /^(?:SlowDown|ServiceUnavailable|InternalError|RequestTimeout|Throttl\w*|TooManyRequests\w*)$/;
const transientSystem = /^(?:ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ERR_STREAM_PREMATURE_CLOSE)/;
const tls = /^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|UNABLE_TO_|SELF_SIGNED|EPROTO|HOSTNAME_MISMATCH)/;

/** An object that was asked for is not there. */
export class ObjectMissing extends Error {
  override readonly name = 'ObjectMissing';

  constructor(url: string) {
    super(`no such object: ${url}`);
  }
}

/** The answer ended before the object did. */
export class CutShort extends Error {
  override readonly name = 'CutShort';
}

/** The HTTP status of a store's answer. */
export function statusOf(error: unknown): number | undefined {
  const metadata = field(error, '$metadata');
  const status = field(metadata, 'httpStatusCode');
  return typeof status === 'number' ? status : undefined;
}

export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

export function isTransient(error: unknown): boolean {
  if (nameOf(error) === 'AbortError') {
    return false;
  }
  const status = statusOf(error);
  if (status !== undefined && (status >= 500 || status === 429 || status === 408)) {
    return status !== 501;
  }
  const code = codeOf(error) ?? '';
  return (
    error instanceof CutShort ||
    transientNames.test(nameOf(error)) ||
    nameOf(error) === 'TimeoutError' ||
    (transientSystem.test(code) && !tls.test(code)) ||
    // An answer that was cut in the middle of its document.
    /socket hang up|aborted|Deserialization error/i.test(messageOf(error))
  );
}

/** The SDK has set its clock by the store's answer: the same request, signed again, is accepted. */
export function isClockCorrected(error: unknown): boolean {
  return field(field(error, '$metadata'), 'clockSkewCorrected') === true;
}

interface Explanation {
  readonly code: ErrorCode;
  readonly text: string;
  readonly next: string;
}

/** `what` (such as `reading wal/…`) failed, as an error that says where, and what to do next; never with a secret. */
export function s3Failure(what: string, error: unknown, settings: S3Settings): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const { code, text, next } = explain(what, error, settings);
  const requestId = field(field(error, '$metadata'), 'requestId');
  // The SDK's own error carries what the store answered, with parts of the signed request in it.
  const cause = new Error(`${nameOf(error)}: ${messageOf(error)}`);
  const where = typeof requestId === 'string' ? { requestId } : {};
  return new KpipeError(code, text, { next, where, cause });
}

function explain(what: string, error: unknown, settings: S3Settings): Explanation {
  const url = locationOf(settings);
  const endpoint = settings.endpoint ?? "Amazon's endpoint";
  const [firstLine = ''] = messageOf(error).split('\n');
  const said = `${nameOf(error)}${firstLine === '' ? '' : `: ${firstLine}`}`;
  if (/^(?:CredentialsProviderError|TokenProviderError)$/.test(nameOf(error))) {
    return {
      code: 'KPIPE_S3_NO_CREDENTIALS',
      text: `there are no credentials for ${url}`,
      next: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or postgres.backups.s3.accessKeyId and secretAccessKey, or run it where a role is attached',
    };
  }
  if (tls.test(codeOf(error) ?? '')) {
    return failed(
      `no TLS with ${endpoint}: ${firstLine}`,
      'for a CA of your own: NODE_EXTRA_CA_CERTS=FILE; does postgres.backups.s3.endpoint begin with what is spoken there, http:// or https://?',
    );
  }
  if (isTransient(error)) {
    return {
      code: 'KPIPE_S3_UNREACHABLE',
      text: `${endpoint} is away or busy: ${what}: ${said}`,
      next: 'look at the network and at postgres.backups.s3.endpoint; what is not stored yet is kept on this machine',
    };
  }
  return (
    refusal(what, error, settings) ?? failed(`${what} in ${url}: ${said}`, 'look at the store: its log, its status')
  );
}

function refusal(what: string, error: unknown, settings: S3Settings): Explanation | undefined {
  const { bucket, region } = settings;
  switch (nameOf(error)) {
    case 'NoSuchBucket':
      return failed(
        `there is no bucket ${bucket}`,
        `make it, or mend postgres.backups.repository: aws s3 mb s3://${bucket}`,
      );
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'ExpiredToken':
    case 'InvalidToken':
    case 'TokenRefreshRequired':
      return failed(
        `the store does not accept the credentials for ${locationOf(settings)}: ${nameOf(error)}`,
        'look at accessKeyId, secretAccessKey and sessionToken of postgres.backups.s3, or at the AWS_… variables',
      );
    case 'RequestTimeTooSkewed':
      return failed(
        "this machine's clock is too far from the store's",
        'set it: timedatectl; a signature is good for 15 minutes',
      );
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException': {
      const wanted = field(error, 'Region');
      const answer = typeof wanted === 'string' ? `, the store says ${wanted}` : '';
      return failed(
        `bucket ${bucket} is not in region ${region ?? 'of the AWS configuration'}${answer}`,
        'set postgres.backups.s3.region to that of the bucket',
      );
    }
    case 'AccessDenied':
    case 'Forbidden':
      return failed(
        `${what}: not allowed in ${locationOf(settings)}`,
        's3:ListBucket and s3:ListBucketMultipartUploads on the bucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on what is in it',
      );
    default:
      if (statusOf(error) === 401 || statusOf(error) === 403) {
        return failed(
          `${what}: the store refuses the credentials for ${locationOf(settings)}, or what they may do: ${nameOf(error)}`,
          'look at accessKeyId and secretAccessKey of postgres.backups.s3, or at the AWS_… variables, and at the rights',
        );
      }
      return messageOf(error) === 'Region is missing'
        ? {
            code: 'KPIPE_CONFIG_INVALID',
            text: `the region of ${locationOf(settings)} is not known`,
            next: 'set postgres.backups.s3.region, or AWS_REGION',
          }
        : undefined;
  }
}

function failed(text: string, next: string): Explanation {
  return { code: 'KPIPE_S3_FAILED', text, next };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
