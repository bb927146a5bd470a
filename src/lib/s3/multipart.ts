import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';

import { messageOf } from '../errors.ts';
import type { S3Connection } from './connection.ts';
import { nameOf, s3Failure } from './failures.ts';

/** What was stored, as it was counted on the way. */
export interface Uploaded {
  readonly bytes: number;
  readonly sha256: string;
}

export interface UploadOptions {
  readonly partBytes: number;
  readonly signal: AbortSignal;
}

/** S3's own limit. */
const mostParts = 10_000;
const partsAtOnce = 3;

interface Part {
  readonly number: number;
  readonly bytes: Buffer;
  readonly isLast: boolean;
}

/**
 * Stores a stream whose length is not known: at once where it is one part, else part by part, a few at a time, so that
 * memory holds no more than four of them. Each request is signed with its body's SHA-256, which the store checks. The
 * object appears with the last request, whole. A failure aborts the upload as far as the store still answers.
 */
export async function upload(
  connection: S3Connection,
  key: string,
  source: Readable,
  { partBytes, signal }: UploadOptions,
): Promise<Uploaded> {
  const hash = createHash('sha256');
  let bytes = 0;
  let parts: MultipartUpload | undefined;
  const counted = (chunk: Buffer): void => {
    hash.update(chunk);
    bytes += chunk.length;
  };
  try {
    for await (const part of partsOf(source, partBytes, counted)) {
      if (part.isLast && part.number === 1) {
        await putObject(connection, key, part.bytes, signal);
        continue;
      }
      parts ??= await MultipartUpload.begin(connection, key, source, signal);
      await parts.add(part);
    }
    await parts?.complete(bytes);
  } catch (error) {
    const failure = parts?.failure ?? error;
    source.destroy();
    await parts?.abort();
    signal.throwIfAborted();
    throw failure;
  }
  return { bytes, sha256: hash.digest('hex') };
}

export async function putObject(
  connection: S3Connection,
  key: string,
  body: Buffer,
  signal?: AbortSignal,
): Promise<void> {
  const { bucket: Bucket } = connection.settings;
  const what = `storing ${key}`;
  try {
    await connection.send({ what, signal }, (client, sdk, options) =>
      client.send(new sdk.PutObjectCommand({ Bucket, Key: key, Body: body }), options),
    );
  } catch (error) {
    throw s3Failure(what, error, connection.settings);
  }
}

async function* partsOf(
  source: Readable,
  partBytes: number,
  counted: (chunk: Buffer) => void,
): AsyncGenerator<Part, void, undefined> {
  let chunks: Buffer[] = [];
  let size = 0;
  let number = 1;
  for await (const chunk of source as AsyncIterable<Buffer | string>) {
    const buffer = Buffer.from(chunk);
    counted(buffer);
    chunks.push(buffer);
    size += buffer.length;
    // More than a part: the last one is what is left, and is known to be the last.
    while (size > partBytes) {
      const all = Buffer.concat(chunks, size);
      yield { number, bytes: all.subarray(0, partBytes), isLast: false };
      number += 1;
      chunks = [all.subarray(partBytes)];
      size -= partBytes;
    }
  }
  yield { number, bytes: Buffer.concat(chunks, size), isLast: true };
}

class MultipartUpload {
  /** Why the first part failed that did. */
  failure: Error | undefined;
  readonly #connection: S3Connection;
  readonly #target: { readonly Bucket: string; readonly Key: string; readonly UploadId: string };
  readonly #source: Readable;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #stored: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];

  private constructor(
    connection: S3Connection,
    target: { Bucket: string; Key: string; UploadId: string },
    source: Readable,
    signal: AbortSignal,
  ) {
    this.#connection = connection;
    this.#target = target;
    this.#source = source;
    this.#signal = AbortSignal.any([signal, this.#over.signal]);
  }

  static async begin(
    connection: S3Connection,
    key: string,
    source: Readable,
    signal: AbortSignal,
  ): Promise<MultipartUpload> {
    const target = { Bucket: connection.settings.bucket, Key: key };
    const what = `beginning the upload of ${key}`;
    try {
      const { UploadId = '' } = await connection.send({ what, signal }, (client, sdk, options) =>
        client.send(new sdk.CreateMultipartUploadCommand(target), options),
      );
      return new MultipartUpload(connection, { ...target, UploadId }, source, signal);
    } catch (error) {
      throw s3Failure(what, error, connection.settings);
    }
  }

  /** Resolves when there is room for another. */
  async add(part: Part): Promise<void> {
    if (part.number > mostParts) {
      throw new Error(`${this.#target.Key} has more than ${mostParts} parts of ${part.bytes.length} bytes`);
    }
    const sending = this.#send(part).catch((error: unknown) => {
      this.failure ??= error instanceof Error ? error : new Error(messageOf(error));
      this.#over.abort();
      // Whoever waits for the source's next chunk learns it at once.
      this.#source.destroy(new Error('a part could not be stored'));
    });
    this.#inFlight.add(sending);
    void sending.finally(() => this.#inFlight.delete(sending));
    while (this.#inFlight.size >= partsAtOnce) {
      await Promise.race(this.#inFlight);
    }
    this.#throwFailure();
  }

  async complete(bytes: number): Promise<void> {
    await Promise.all(this.#inFlight);
    this.#throwFailure();
    const Parts = this.#stored.toSorted((left, right) => left.PartNumber - right.PartNumber);
    const what = `completing ${this.#target.Key}`;
    let attempts = 0;
    try {
      await this.#connection.send({ what, signal: this.#signal }, (client, sdk, options) => {
        attempts += 1;
        const command = new sdk.CompleteMultipartUploadCommand({ ...this.#target, MultipartUpload: { Parts } });
        return client.send(command, options);
      });
    } catch (error) {
      // An answer that was lost: the upload is gone because it was completed.
      if (attempts > 1 && /^NoSuch(?:Upload|Key)$/.test(nameOf(error)) && (await this.#storedBytes()) === bytes) {
        return;
      }
      throw s3Failure(what, error, this.#connection.settings);
    }
  }

  async abort(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#inFlight);
    try {
      await this.#connection.send(
        { what: 'aborting an upload', signal: AbortSignal.timeout(5000) },
        (client, sdk, options) => client.send(new sdk.AbortMultipartUploadCommand(this.#target), options),
      );
    } catch {
      // A store that is away is cleared up by the next run.
    }
  }

  async #send({ number, bytes }: Part): Promise<void> {
    const what = `storing part ${number} of ${this.#target.Key}`;
    try {
      const { ETag } = await this.#connection.send({ what, signal: this.#signal }, (client, sdk, options) =>
        client.send(new sdk.UploadPartCommand({ ...this.#target, PartNumber: number, Body: bytes }), options),
      );
      this.#stored.push({ PartNumber: number, ETag });
    } catch (error) {
      throw s3Failure(what, error, this.#connection.settings);
    }
  }

  async #storedBytes(): Promise<number | undefined> {
    const { Bucket, Key } = this.#target;
    const { ContentLength } = await this.#connection.send(
      { what: `looking at ${Key}`, signal: this.#signal },
      (client, sdk, options) => client.send(new sdk.HeadObjectCommand({ Bucket, Key }), options),
    );
    return ContentLength;
  }

  #throwFailure(): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
  }
}
