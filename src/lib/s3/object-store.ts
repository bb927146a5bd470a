import type { Readable } from 'node:stream';

import { S3Connection } from './connection.ts';
import { nameOf, s3Failure, statusOf } from './failures.ts';
import { putObject, upload, type Uploaded, type UploadOptions } from './multipart.ts';
import { readObject, readText } from './read.ts';
import { locationOf, type S3Settings } from './settings.ts';

export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedAtMs: number;
}

/** As many as one request may remove. */
const removedAtOnce = 1000;

/**
 * Objects below one prefix of one bucket; keys are told and taken without it. Every operation tries again while the store is
 * away, and fails with KPIPE_S3_UNREACHABLE, KPIPE_S3_NO_CREDENTIALS or KPIPE_S3_FAILED.
 */
export class ObjectStore {
  readonly location: string;
  readonly #connection: S3Connection;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(settings: S3Settings) {
    this.location = locationOf(settings);
    this.#connection = new S3Connection(settings);
    this.#bucket = settings.bucket;
    this.#prefix = settings.prefix;
  }

  put(key: string, text: string, signal?: AbortSignal): Promise<void> {
    return putObject(this.#connection, this.#prefix + key, Buffer.from(text), signal);
  }

  /**
   * Only where nothing is there yet: `there` says that something is. Where a lost answer made it uncertain, what is there is
   * compared. A store that knows no conditions is asked first, which is not the same: ids that are random make up for it.
   */
  async putNew(key: string, text: string, signal?: AbortSignal): Promise<'stored' | 'there'> {
    const Key = this.#prefix + key;
    try {
      await this.#connection.send({ what: `storing ${Key}`, signal }, (client, sdk, options) =>
        client.send(
          new sdk.PutObjectCommand({ Bucket: this.#bucket, Key, Body: Buffer.from(text), IfNoneMatch: '*' }),
          options,
        ),
      );
      return 'stored';
    } catch (error) {
      if (statusOf(error) === 412 || nameOf(error) === 'ConditionalRequestConflict') {
        return (await this.text(key)) === text ? 'stored' : 'there';
      }
      if (statusOf(error) === 501) {
        if ((await this.text(key)) !== undefined) {
          return 'there';
        }
        await this.put(key, text, signal);
        return 'stored';
      }
      throw this.#failure(`storing ${Key}`, error);
    }
  }

  upload(key: string, source: Readable, options: UploadOptions): Promise<Uploaded> {
    return upload(this.#connection, this.#prefix + key, source, options);
  }

  /** Fails with ObjectMissing where there is none. */
  read(key: string): Readable {
    return readObject(this.#connection, this.#prefix + key);
  }

  text(key: string): Promise<string | undefined> {
    return readText(this.#connection, this.#prefix + key);
  }

  /** Every object whose key begins so, in the order of their keys. */
  async list(prefix: string): Promise<readonly StoredObject[]> {
    const what = `listing ${this.#prefix}${prefix}`;
    const found: StoredObject[] = [];
    let token: string | undefined;
    do {
      const page = await this.#connection
        .send({ what }, (client, sdk) =>
          client.send(
            new sdk.ListObjectsV2Command({
              Bucket: this.#bucket,
              Prefix: this.#prefix + prefix,
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
          ),
        )
        .catch((error: unknown) => {
          throw this.#failure(what, error);
        });
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        found.push({ key: this.#keyOf(Key), bytes: Size, modifiedAtMs: LastModified?.getTime() ?? Number.NaN });
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return found.toSorted((left, right) => (left.key < right.key ? -1 : 1));
  }

  /** What is not there is removed, too. */
  async remove(keys: readonly string[]): Promise<void> {
    const what = `removing from ${this.location}`;
    for (let first = 0; first < keys.length; first += removedAtOnce) {
      const Objects = keys.slice(first, first + removedAtOnce).map((key) => ({ Key: this.#prefix + key }));
      const { Errors = [] } = await this.#connection
        .send({ what }, (client, sdk) =>
          client.send(new sdk.DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } })),
        )
        .catch((error: unknown) => {
          throw this.#failure(what, error);
        });
      const [refused] = Errors;
      if (refused !== undefined) {
        const error = Object.assign(new Error(refused.Message ?? ''), { name: refused.Code ?? 'Error' });
        throw this.#failure(`removing ${refused.Key ?? '?'} and ${Errors.length - 1} more`, error);
      }
    }
  }

  /** Uploads that were begun and neither completed nor aborted; `begunBeforeMs`: only those begun before. */
  async abortUploads(prefix: string, begunBeforeMs = Number.POSITIVE_INFINITY): Promise<number> {
    let aborted = 0;
    for (const { key, uploadId, begunAtMs } of await this.#uploads(prefix)) {
      if (begunAtMs < begunBeforeMs) {
        await this.#abortUpload(key, uploadId);
        aborted += 1;
      }
    }
    return aborted;
  }

  async #uploads(
    prefix: string,
  ): Promise<readonly { readonly key: string; readonly uploadId: string; readonly begunAtMs: number }[]> {
    const what = `listing uploads of ${this.#prefix}${prefix}`;
    const found: { key: string; uploadId: string; begunAtMs: number }[] = [];
    let markers: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    while (markers !== undefined) {
      const from: { KeyMarker?: string; UploadIdMarker?: string } = markers;
      const page = await this.#connection
        .send({ what }, (client, sdk) =>
          client.send(
            new sdk.ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: this.#prefix + prefix, ...from }),
          ),
        )
        .catch((error: unknown) => {
          throw this.#failure(what, error);
        });
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        // Not every store looks at the prefix.
        if (Key.startsWith(this.#prefix + prefix)) {
          found.push({ key: Key, uploadId: UploadId, begunAtMs: Initiated?.getTime() ?? 0 });
        }
      }
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
      markers =
        IsTruncated === true && NextKeyMarker !== undefined
          ? {
              KeyMarker: NextKeyMarker,
              ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
            }
          : undefined;
    }
    return found;
  }

  async #abortUpload(Key: string, UploadId: string): Promise<void> {
    const what = `aborting an upload of ${Key}`;
    try {
      await this.#connection.send({ what }, (client, sdk) =>
        client.send(new sdk.AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId })),
      );
    } catch (error) {
      if (nameOf(error) !== 'NoSuchUpload') {
        throw this.#failure(what, error);
      }
    }
  }

  #keyOf(key: string): string {
    return key.slice(this.#prefix.length);
  }

  #failure(what: string, error: unknown): Error {
    return s3Failure(what, error, this.#connection.settings);
  }
}
