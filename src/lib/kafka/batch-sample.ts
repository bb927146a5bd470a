import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

import type { KafkaConfig } from '../config/load.ts';
import { partitionKey, type PartitionPosition } from '../ports.ts';
import type { BatchSample } from '../topics/tune/batches.ts';
import { unpackers } from './codecs.ts';
import { KafkaConnections } from './connections.ts';
import { fetchBytes, type FetchBounds } from './fetch-request.ts';
import { findBatches, type RecordBatch } from './fetch/record-batch.ts';
import { groupByLeader } from './offset-requests.ts';
import { metadata } from './topic-requests.ts';

const bounds: FetchBounds = { maxBytes: 8_000_000, partitionMaxBytes: 262_144, minBytes: 0, maxWaitMs: 0 };
/** Unpacked and packed again to see what it gives: enough to tell, little enough to cost no second. */
const maxTriedBatches = 200;
const maxUnpackedBytes = 1024 * 1024;
const headerBytes = 61;
/** The batch's bytes before those that its checksum is of. */
const uncheckedBytes = 21;
const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

/** Reads record batches as their producers made them: mostly their headers. Joins no group. The caller closes it. */
export class BatchSampler {
  readonly #kafka: KafkaConnections;

  private constructor(kafka: KafkaConnections) {
    this.#kafka = kafka;
  }

  static async open(config: KafkaConfig, deadlineMs = 8000): Promise<BatchSampler> {
    return new BatchSampler(await KafkaConnections.prepare(config, deadlineMs));
  }

  /**
   * Batches at and after these positions of one topic, up to 256 kB a partition; null when there is none.
   * @throws what the driver throws
   */
  async sample(positions: readonly PartitionPosition[], duringWatch: boolean): Promise<BatchSample | null> {
    const found = await this.#fetch(positions);
    const batches = [...found.values()].flat();
    if (batches.length === 0) {
      return null;
    }
    const sizes = batches.map(sizeOf);
    const ids = new Set(batches.map(({ producerId }) => producerId));
    return {
      batches: batches.length,
      records: batches.reduce((sum, { count }) => sum + count, 0),
      bytes: sizes.reduce((sum, size) => sum + size, 0),
      largestBytes: Math.max(...sizes),
      unpackedBytesPerBatch: await unpackedBytesPerBatch(batches),
      codecs: Object.fromEntries(
        [...Map.groupBy(batches, ({ codec }) => codecNames[codec] ?? String(codec))].map(([codec, all]) => [
          codec,
          all.length,
        ]),
      ),
      producers: ids.has(-1n) ? null : ids.size,
      partitions: found.size,
      packed: await tryPacking(batches),
      duringWatch,
    };
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }

  /** By partition; partitions without a batch are absent. */
  async #fetch(positions: readonly PartitionPosition[]): Promise<ReadonlyMap<string, readonly RecordBatch[]>> {
    const names = [...new Set(positions.map(({ topic }) => topic))];
    const { topics } = await metadata(this.#kafka, { names });
    const ids = new Map(topics.map(({ name, topicId }) => [name, topicId]));
    const byLeader = await groupByLeader(this.#kafka, positions);
    const answers = await Promise.all(
      [...byLeader].map(async ([leader, asked]) => {
        const questions = asked.map((position) => ({
          ...position,
          topicId: ids.get(position.topic) ?? '',
          leaderEpoch: -1,
          lastFetchedEpoch: -1,
        }));
        return (await fetchBytes(this.#kafka, await this.#kafka.to(leader), questions, bounds)).partitions;
      }),
    );
    return new Map(
      answers.flat().flatMap((answer) => {
        // A partition that moved or was cut off meanwhile has none.
        const batches = findBatches(answer.batches).batches.filter(({ control, count }) => !control && count > 0);
        return batches.length === 0 ? [] : [[partitionKey(answer), batches] as const];
      }),
    );
  }
}

function sizeOf({ checked }: RecordBatch): number {
  return checked.length + uncheckedBytes;
}

/** All that are not packed, and some of those that are. */
async function unpackedBytesPerBatch(batches: readonly RecordBatch[]): Promise<number | null> {
  const plain = batches.filter(({ codec }) => codec === 0).map(({ records }) => records.length);
  const packed = batches.filter(({ codec }) => codec !== 0).slice(0, maxTriedBatches);
  const unpacked = await Promise.all(
    packed.map(async ({ codec, records }) => unpackers[codec]?.(records, maxUnpackedBytes).catch(() => null)),
  );
  const sizes = [...plain, ...unpacked.flatMap((bytes) => bytes?.length ?? [])];
  return sizes.length === 0 ? null : headerBytes + sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
}

/** zstd, where this Node has it (22.15 on). Each batch by itself, as its producer would. */
async function tryPacking(batches: readonly RecordBatch[]): Promise<BatchSample['packed']> {
  const plain = batches.filter(({ codec }) => codec === 0).slice(0, maxTriedBatches);
  if (plain.length === 0 || typeof zlib.zstdCompress !== 'function') {
    return null;
  }
  const pack = promisify(zlib.zstdCompress);
  const packed = await Promise.all(plain.map(({ records }) => pack(records)));
  const total = (parts: readonly Uint8Array[]): number =>
    parts.reduce((sum, part) => sum + headerBytes + part.length, 0);
  return { codec: 'zstd', fromBytes: total(plain.map(({ records }) => records)), toBytes: total(packed) };
}
