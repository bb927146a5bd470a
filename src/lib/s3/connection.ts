import { createHash } from 'node:crypto';

import type { S3Client } from '@aws-sdk/client-s3';

import { KpipeError } from '../errors.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { isClockCorrected, isTransient, s3Failure } from './failures.ts';
import type { S3Settings } from './settings.ts';

/** The SDK's module: loaded by the first request, so that nobody else pays for it. */
export type Sdk = typeof import('@aws-sdk/client-s3');

export interface SendOptions {
  /** What fails when it fails: `reading backups/…/base.tar.zst.enc`. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
}

/** A store that has never answered is more likely misspelt than away. */
const firstAnswerMs = 5000;
const backoff = { baseMs: 100, capMs: 5000 };
const connectMs = 5000;
/** Without a byte either way. */
const idleMs = 30_000;

/** One client of the SDK, and the one place that tries again. */
export class S3Connection {
  readonly settings: S3Settings;
  #loaded: Promise<{ readonly sdk: Sdk; readonly client: S3Client }> | undefined;
  #hasAnswered = false;

  constructor(settings: S3Settings) {
    this.settings = settings;
  }

  /**
   * Makes the request until it is answered, for as long as `giveUpMs`. The attempt's number is for those that must know
   * whether an earlier one may have been carried out. @throws KPIPE_S3_UNREACHABLE; what is not transient as the SDK told it
   */
  async send<Answer>(
    { what, signal = never }: SendOptions,
    request: (client: S3Client, sdk: Sdk, options: { readonly abortSignal: AbortSignal }) => Promise<Answer>,
  ): Promise<Answer> {
    const began = performance.now();
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        const { client, sdk } = await this.#load();
        const answer = await request(client, sdk, { abortSignal: signal });
        this.#hasAnswered = true;
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        const patienceMs = this.#hasAnswered ? this.settings.giveUpMs : Math.min(firstAnswerMs, this.settings.giveUpMs);
        const again = isClockCorrected(error) ? attempt === 0 : isTransient(error);
        if (!again || performance.now() - began > patienceMs) {
          // Who cleans up after this need not wait as long once more.
          this.#hasAnswered &&= !isTransient(error);
          throw isTransient(error) ? s3Failure(what, error, this.settings) : error;
        }
        await wait(backoffMs(attempt, backoff, Math.random), signal);
      }
    }
  }

  #load(): Promise<{ readonly sdk: Sdk; readonly client: S3Client }> {
    this.#loaded ??= loadClient(this.settings).catch((error: unknown) => {
      // A secret that is not there yet may be there the next time.
      this.#loaded = undefined;
      throw error;
    });
    return this.#loaded;
  }
}

const never = new AbortController().signal;

async function loadClient(settings: S3Settings): Promise<{ readonly sdk: Sdk; readonly client: S3Client }> {
  const sdk = await import('@aws-sdk/client-s3');
  const { credentials, endpoint, forcePathStyle } = settings;
  const region = settings.region ?? (endpoint === undefined ? undefined : 'us-east-1');
  const client = new sdk.S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey.reveal(),
            ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken.reveal() }),
          },
        }),
    forcePathStyle,
    maxAttempts: 1,
    // The signature covers each body's SHA-256 already, and not every store knows Amazon's newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: connectMs, socketTimeout: idleMs },
  });
  digestAsMd5(client);
  return { sdk, client };
}

/** A removal of many must carry a digest: the SDK sends a CRC32, which older stores refuse; all know Content-MD5. */
function digestAsMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const { request } = args;
      if (context['commandName'] === 'DeleteObjectsCommand' && isHttpRequest(request)) {
        for (const name of Object.keys(request.headers).filter((header) => /^x-amz-(?:sdk-)?checksum-/i.test(header))) {
          delete request.headers[name];
        }
        request.headers['content-md5'] = createHash('md5').update(String(request.body)).digest('base64');
      }
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'kpipeContentMd5' },
  );
}

function isHttpRequest(
  request: unknown,
): request is { readonly headers: Record<string, string>; readonly body: unknown } {
  return typeof request === 'object' && request !== null && 'headers' in request && 'body' in request;
}

/** For what must not be tried again. */
export function unexpected(what: string): KpipeError {
  return new KpipeError('KPIPE_S3_FAILED', what, { next: 'look at the store: is it really an S3 store?' });
}
