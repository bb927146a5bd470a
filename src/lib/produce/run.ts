import { randomInt } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';

import type { Config } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { openPublisher, type SendTrouble } from '../kafka/publisher.ts';
import { spreadOver } from '../shop/shop.ts';
import { topicsOf, type ProducerKind, type ShopTopic } from '../shop/types.ts';
import { Journal } from './journal.ts';
import { generatedRecords, recordsFromLines, type OutgoingBatch } from './outgoing.ts';
import { produceRecords } from './produce.ts';
import type { ProduceSummary } from './tally.ts';

export type ProduceInput =
  | { readonly kind: 'lines'; readonly topic: string; readonly file: string | Readable; readonly keyField?: string }
  | {
      readonly kind: 'generate';
      readonly producer: ProducerKind;
      /** Only this one of its topics. */
      readonly topic?: string;
      readonly seed?: number;
      readonly run?: string;
      readonly brokenShare?: number;
    };

export interface ProduceOptions {
  readonly input: ProduceInput;
  readonly ratePerSec?: number;
  readonly count?: number;
  readonly journalPath?: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (settled: number) => void;
  readonly onTrouble?: (trouble: SendTrouble) => void;
}

export interface ProduceReport extends ProduceSummary {
  /** With which the same records come again; null where they were not generated. */
  readonly seed: number | null;
}

/** A broker that is lost is replaced within 15 s; somebody waits at the terminal for longer than that only in vain. */
const deliveryTimeoutMs = 60_000;
const generatedSpanMs = 600_000;

/**
 * Sends records from a file, a stream or the generator to Kafka with acks=all.
 * @throws KpipeError KPIPE_KAFKA_UNREACHABLE, KPIPE_TOPIC_MISSING, KPIPE_INPUT_INVALID, KPIPE_USAGE
 */
export async function produce(config: Config, options: ProduceOptions): Promise<ProduceReport> {
  const { input, journalPath, onTrouble, ...request } = options;
  const seed = input.kind === 'generate' ? (input.seed ?? randomInt(2 ** 31)) : null;
  const { topics, batches } = await openInput(config, options, seed ?? 0);
  const publisher = await openPublisher(config.kafka, {
    deliveryTimeoutMs,
    ...(onTrouble === undefined ? {} : { onTrouble }),
  }).catch((error: unknown) => {
    closeInput(input);
    throw error;
  });
  let journal: Journal | undefined;
  try {
    // Before anything is read: a topic that is missing shows at once.
    await Promise.all(topics.map((topic) => publisher.partitionCount(topic)));
    journal = journalPath === undefined ? undefined : new Journal(journalPath);
    const summary = await produceRecords({
      ...request,
      publisher,
      batches,
      ...(journal === undefined ? {} : { journal }),
    });
    return { ...summary, topics: withAll(summary, topics), seed };
  } finally {
    journal?.close();
    await publisher.close();
    closeInput(input);
  }
}

interface OpenInput {
  readonly topics: readonly string[];
  readonly batches: AsyncIterable<OutgoingBatch> | Iterable<OutgoingBatch>;
}

async function openInput(config: Config, options: ProduceOptions, seed: number): Promise<OpenInput> {
  const { input, count, ratePerSec } = options;
  if (input.kind === 'lines') {
    return {
      topics: [input.topic],
      batches: recordsFromLines(await openLines(input.file), input.topic, input.keyField),
    };
  }
  const topics = generatedTopics(config, input.producer, input.topic);
  const now = Date.now();
  const timeOf =
    count === undefined || ratePerSec !== undefined ? () => Date.now() : spreadOver(now - generatedSpanMs, now, count);
  const shop = {
    kind: input.producer,
    seed,
    topics,
    timeOf,
    ...(input.run === undefined ? {} : { run: input.run }),
    ...(input.brokenShare === undefined ? {} : { brokenShare: input.brokenShare }),
  };
  return { topics: Object.values(topics), batches: generatedRecords(shop) };
}

/** The names that kpipe.yaml gives to the topics that this kind of producer writes. */
function generatedTopics(
  config: Config,
  producer: ProducerKind,
  only: string | undefined,
): Partial<Record<ShopTopic, string>> {
  const named = topicsOf[producer].map((topic) => [topic, config.roles[topic]?.topic ?? topic] as const);
  const wanted = named.filter(([, name]) => only === undefined || name === only);
  if (wanted.length === 0) {
    throw new KpipeError('KPIPE_USAGE', `the producer ${producer} does not write ${only}`, {
      next: `leave the topic out, or name one of: ${named.map(([, name]) => name).join(', ')}`,
    });
  }
  return Object.fromEntries(wanted);
}

async function openLines(file: string | Readable): Promise<AsyncIterable<Buffer>> {
  if (typeof file !== 'string') {
    return file;
  }
  try {
    await access(file, constants.R_OK);
    if ((await stat(file)).isDirectory()) {
      throw new Error(`${file} is a directory`);
    }
  } catch (error) {
    throw new KpipeError('KPIPE_INPUT_INVALID', `the records cannot be read: ${messageOf(error)}`, {
      next: 'name a file with one record a line, or - for standard input',
      cause: error,
    });
  }
  return readWhenAsked(file);
}

/** A pipe that says nothing, and does not end, would keep the process alive. */
function closeInput(input: ProduceInput): void {
  if (input.kind === 'lines' && typeof input.file !== 'string') {
    input.file.destroy();
  }
}

async function* readWhenAsked(path: string): AsyncGenerator<Buffer> {
  yield* createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
}

/** Topics that got nothing are told as well. */
function withAll({ topics }: ProduceSummary, names: readonly string[]): ProduceSummary['topics'] {
  return [...new Set([...names, ...topics.map(({ topic }) => topic)])].map(
    (name) => topics.find(({ topic }) => topic === name) ?? { topic: name, acked: 0, failed: 0 },
  );
}
