/** The object store on a real S3 server, with a proxy between that refuses and cuts. */
import { createHash } from 'node:crypto';
import { linkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';

import { expect, test, vi } from 'vitest';

import { partBytesFor } from '../../src/lib/backup/s3-repository.ts';
import { uniqueTopic } from '../support/servers.ts';
import { s3FaultsOfFile, s3Identity, s3ServerOfFile } from '../support/s3-server.ts';
import { s3Credentials, s3Store } from '../support/s3-store.ts';

const bucket = 'objects-of-tests';
const server = await s3ServerOfFile();
const faults = await s3FaultsOfFile(server);
server.bucket(bucket);

const mebibyte = 1 << 20;
const signal = new AbortController().signal;
const options = { partBytes: 5 * mebibyte, signal };
const unique = (): string => `${uniqueTopic('t')}/`;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const wholeOf = async (stream: Readable): Promise<Buffer> => Buffer.concat(await stream.toArray());

/** So many bytes, none of them like its neighbours' by chance. */
function content(bytes: number): Buffer {
  const whole = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) {
    whole.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  }
  return whole;
}

function chunked(whole: Buffer): Readable {
  const chunk = 300_007;
  const chunks = Array.from({ length: Math.ceil(whole.length / chunk) }, (_, at) =>
    whole.subarray(at * chunk, (at + 1) * chunk),
  );
  return Readable.from(chunks);
}

test('given streams of a part, of several, and to the byte as long as two, when they are stored while the server refuses some requests, then each is there whole', async () => {
  const store = s3Store(faults.endpoint, bucket, unique());
  const sizes = [1000, 11 * mebibyte + 5, 10 * mebibyte];
  faults.refuse(/^PUT .*partNumber=2/, 503, 2);
  faults.refuse(/^POST .*\?uploads/, 500, 1);

  for (const [index, size] of sizes.entries()) {
    const whole = content(size);
    const key = `object-${index}`;

    expect(await store.upload(key, chunked(whole), options)).toEqual({ bytes: size, sha256: sha256(whole) });
    expect(sha256(await wholeOf(store.read(key)))).toBe(sha256(whole));
  }
  expect(await store.list('')).toMatchObject(sizes.map((bytes, index) => ({ key: `object-${index}`, bytes })));
  expect(await store.abortUploads('')).toBe(0);
});

test('given the answer to the last request of an upload is lost, when it is asked again, then the object is there, and that is told', async () => {
  const store = s3Store(faults.endpoint, bucket, unique());
  const whole = content(6 * mebibyte);
  faults.cut(/^POST .*uploadId=/, 0);

  expect(await store.upload('object', chunked(whole), options)).toMatchObject({ bytes: whole.length });
  expect(sha256(await wholeOf(store.read('object')))).toBe(sha256(whole));
});

test('given the connection is cut again and again while an object is read, then the rest is asked for, and every byte arrives once', async () => {
  const store = s3Store(faults.endpoint, bucket, unique());
  const whole = content(6 * mebibyte);
  await store.upload('object', chunked(whole), options);
  const before = faults.requests.length;
  faults.cut(/^GET .*object/, 1 * mebibyte, 3);

  const read = await wholeOf(store.read('object'));

  expect(sha256(read)).toBe(sha256(whole));
  expect(faults.requests.slice(before).filter((line) => line.startsWith('GET '))).toHaveLength(4);
});

test('given an object is stored again while it is read, then the reading fails and mixes nothing', async () => {
  const prefix = unique();
  const store = s3Store(faults.endpoint, bucket, prefix);
  await store.upload('object', chunked(content(6 * mebibyte)), options);
  const before = faults.requests.length;
  faults.cut(/^GET .*object/, mebibyte);
  const lift = faults.refuse(/^GET .*object/, 503, 1000);
  const reading = wholeOf(store.read('object')).catch((error: unknown) => error);
  await vi.waitUntil(() => faults.requests.slice(before).filter((line) => line.startsWith('GET ')).length > 1);
  await store.upload('object', chunked(content(6 * mebibyte).fill(1, 0, 1000)), options);
  lift();

  expect(await reading).toMatchObject({ code: 'KPIPE_S3_FAILED' });
});

test('given the source breaks in the middle of an upload, then its error is told, and no upload and no object is left', async () => {
  const store = s3Store(server.endpoint, bucket, unique());
  const source = Readable.from(
    (async function* chunks() {
      yield content(11 * mebibyte);
      await Promise.resolve();
      throw new Error('the source broke');
    })(),
  );

  await expect(store.upload('object', source, options)).rejects.toThrow('the source broke');

  expect(await store.abortUploads('')).toBe(0);
  expect(await store.list('')).toEqual([]);
});

test('given a store that stays away in the middle of an upload, then KPIPE_S3_UNREACHABLE, and the upload that is left is found and aborted when it is back', async () => {
  const prefix = unique();
  const store = s3Store(faults.endpoint, bucket, prefix, { giveUpMs: 500 });
  await store.put('before', 'it has answered');
  faults.refuse(/^PUT .*partNumber=3/, 503, 1000);
  faults.refuse(/^DELETE .*uploadId=/, 503, 1000);

  await expect(store.upload('object', chunked(content(13 * mebibyte)), options)).rejects.toMatchObject({
    code: 'KPIPE_S3_UNREACHABLE',
  });

  const back = s3Store(server.endpoint, bucket, prefix);
  expect((await back.list('')).map(({ key }) => key)).toEqual(['before']);
  expect(await back.abortUploads('')).toBe(1);
  expect(await back.abortUploads('')).toBe(0);
});

test('given more keys than one page and one removal hold, when they are listed and removed, then none is forgotten', async () => {
  const prefix = unique();
  const store = s3Store(server.endpoint, bucket, prefix);
  const keys = Array.from({ length: 1102 }, (_, index) => `key-${String(index).padStart(5, '0')}`);
  await store.put(`many/${keys[0]!}`, 'the same in each');
  const file = (key: string): string => server.fileOf(bucket, `${prefix}many/${key}`);
  // A link is an object like the first: a thousand requests would tell nothing more.
  keys.slice(1).forEach((key) => linkSync(file(keys[0]!), file(key)));

  const listed = await store.list('many/');
  await store.remove(listed.slice(0, 1101).map(({ key }) => key));

  expect(listed.map(({ key }) => key)).toEqual(keys.map((key) => `many/${key}`));
  expect((await store.list('')).map(({ key }) => key)).toEqual([`many/${keys.at(-1)!}`]);
});

test('given something is there, when it is put on condition that nothing is, then it stays; and a lost answer is not taken for another', async () => {
  const store = s3Store(faults.endpoint, bucket, unique());
  faults.cut(/^PUT .*entry/, 0);

  expect(await store.putNew('entry', 'first')).toBe('stored');
  expect(await store.putNew('entry', 'second')).toBe('there');
  expect(await store.text('entry')).toBe('first');
  expect(await store.text('nothing')).toBeUndefined();
});

test.each([
  ['no such bucket', { bucket: 'not-a-bucket' }, 'KPIPE_S3_FAILED', /there is no bucket not-a-bucket/],
  [
    'another secret',
    { credentials: s3Credentials({ ...s3Identity, secretAccessKey: 'Hush-Hush-1' }) },
    'KPIPE_S3_FAILED',
    /SignatureDoesNotMatch/,
  ],
  [
    'another user',
    { credentials: s3Credentials({ accessKeyId: 'nobody', secretAccessKey: 'Hush-Hush-2' }) },
    'KPIPE_S3_FAILED',
    /InvalidAccessKeyId/,
  ],
  ['TLS where none is spoken', { endpoint: server.endpoint.replace('http', 'https') }, 'KPIPE_S3_FAILED', /no TLS/],
  ['a name that does not exist', { endpoint: 'http://s3.invalid' }, 'KPIPE_S3_UNREACHABLE', /s3\.invalid is away/],
])('given %s, then the code says it, and no secret is in any text', async (_what, more, code, text) => {
  const store = s3Store(server.endpoint, bucket, unique(), { giveUpMs: 200, ...more });

  const error: unknown = await store.list('').catch((thrown: unknown) => thrown);

  expect(error).toMatchObject({ code, message: expect.stringMatching(text), next: expect.stringMatching(/\w/) });
  const everything = JSON.stringify([
    error,
    (error as Error).message,
    (error as Error).cause,
    String((error as Error).cause),
  ]);
  expect(everything).not.toMatch(/Hush-Hush|a-secret-of-the-test/);
});

test('given nobody listens there, then KPIPE_S3_UNREACHABLE', async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));

  const store = s3Store(`http://127.0.0.1:${port}`, bucket, '', { giveUpMs: 200 });

  await expect(store.put('key', 'text')).rejects.toMatchObject({ code: 'KPIPE_S3_UNREACHABLE' });
});

test('given a cluster’s size, then 10,000 parts hold it with room to spare', () => {
  for (const gibibytes of [0, 1, 78, 100, 1024, 5000]) {
    const bytes = gibibytes * 2 ** 30;
    expect(partBytesFor(bytes) * 9000).toBeGreaterThanOrEqual(bytes);
    expect(partBytesFor(bytes) % mebibyte).toBe(0);
  }
  expect(partBytesFor(null)).toBe(8 * mebibyte);
});
