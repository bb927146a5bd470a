import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { KpipeError } from '../errors.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { unexpected, type S3Connection } from './connection.ts';
import { CutShort, isTransient, nameOf, ObjectMissing, s3Failure, statusOf } from './failures.ts';
import { locationOf } from './settings.ts';

const backoff = { baseMs: 100, capMs: 5000 };

/**
 * An object as a stream. A connection that is cut is made again, and the reading goes on with the byte where it was, of the
 * same version of the object only. The stream fails with ObjectMissing, KPIPE_S3_UNREACHABLE or KPIPE_S3_FAILED.
 */
export function readObject(connection: S3Connection, key: string): Readable {
  const over = new AbortController();
  const out = new PassThrough({ highWaterMark: 1 << 20 });
  out.once('close', () => over.abort());
  // What fails destroys `out`, and its reader sees it there.
  pipeline(chunksOf(connection, key, over.signal), out).catch(() => undefined);
  return out;
}

/** Undefined where there is none. */
export async function readText(connection: S3Connection, key: string): Promise<string | undefined> {
  try {
    return Buffer.concat(await readObject(connection, key).toArray()).toString('utf8');
  } catch (error) {
    if (error instanceof ObjectMissing) {
      return undefined;
    }
    throw error;
  }
}

async function* chunksOf(
  connection: S3Connection,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const { settings } = connection;
  let position = 0;
  let whole: { readonly etag: string | undefined; readonly bytes: number } | undefined;
  let progressAt = performance.now();
  for (let attempt = 0; ; attempt += 1) {
    const opened = await open(connection, key, { position, etag: whole?.etag }, signal);
    whole ??= { etag: opened.etag, bytes: opened.bytes };
    try {
      for await (const chunk of opened.body as AsyncIterable<Buffer>) {
        position += chunk.length;
        progressAt = performance.now();
        attempt = 0;
        yield chunk;
      }
      if (position === whole.bytes) {
        return;
      }
      throw new CutShort(`${key} ended at ${position} of ${whole.bytes} bytes`);
    } catch (error) {
      signal.throwIfAborted();
      if (!isTransient(error) || performance.now() - progressAt > settings.giveUpMs) {
        throw s3Failure(`reading ${key}`, error, settings);
      }
      await wait(backoffMs(attempt, backoff, Math.random), signal);
    } finally {
      opened.body.destroy();
    }
  }
}

async function open(
  connection: S3Connection,
  key: string,
  { position, etag }: { readonly position: number; readonly etag: string | undefined },
  signal: AbortSignal,
): Promise<{ readonly body: Readable; readonly bytes: number; readonly etag: string | undefined }> {
  const { settings } = connection;
  const what = `reading ${key}`;
  const rest = position === 0 ? {} : { Range: `bytes=${position}-`, ...(etag === undefined ? {} : { IfMatch: etag }) };
  try {
    const answer = await connection.send({ what, signal }, (client, sdk, options) =>
      client.send(new sdk.GetObjectCommand({ Bucket: settings.bucket, Key: key, ...rest }), options),
    );
    const { Body, ContentLength, ETag } = answer;
    if (!(Body instanceof Readable) || ContentLength === undefined) {
      throw unexpected(`${what}: the answer has no body, or no length`);
    }
    return { body: Body, bytes: position + ContentLength, etag: ETag };
  } catch (error) {
    if (nameOf(error) === 'NoSuchKey' || nameOf(error) === 'NotFound') {
      throw new ObjectMissing(`${locationOf({ ...settings, prefix: '' })}/${key}`);
    }
    if (statusOf(error) === 412) {
      throw new KpipeError('KPIPE_S3_FAILED', `${key} was stored again while it was read`, { next: 'try again' });
    }
    throw s3Failure(what, error, settings);
  }
}
