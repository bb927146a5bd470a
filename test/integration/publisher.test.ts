import { connect, createServer, type Server, type Socket } from 'node:net';

import { Consumer } from '@platformatic/kafka';
import { afterAll, afterEach, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig, type KafkaConfig } from '../../src/lib/config/load.ts';
import { KpipeError } from '../../src/lib/errors.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { partitionOfKey } from '../../src/lib/kafka/partitioner.ts';
import {
  openPublisher,
  type KafkaPublisher,
  type PublisherOptions,
  type SendTrouble,
} from '../../src/lib/kafka/publisher.ts';
import type { OutgoingRecord, RecordHeader } from '../../src/lib/ports.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const { kafka: config } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(config);
const replicas = Math.min(3, servers.brokers.length);
const topics: string[] = [];
const closers: (() => Promise<void>)[] = [];

async function newTopic(partitions: number, keys: Readonly<Record<string, string>> = {}): Promise<string> {
  const name = uniqueTopic('publisher');
  topics.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: replicas, config: keys });
  await topicsEverywhere(config, [name]);
  return name;
}

async function publisher(options: PublisherOptions = {}, on: KafkaConfig = config): Promise<KafkaPublisher> {
  const opened = await openPublisher(on, options);
  closers.push(() => opened.close());
  return opened;
}

interface Read {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestamp: bigint;
  readonly key: string | null;
  readonly value: string | null;
  /** In their order, with repeats. */
  readonly headers: readonly (readonly [name: string, hex: string | null])[];
}

/** Reads a topic by another client than the one that wrote it, until `count` records were there. */
async function read(topic: string, count: number): Promise<readonly Read[]> {
  const consumer = new Consumer({
    clientId: 'test-reader',
    groupId: uniqueTopic('reader'),
    bootstrapBrokers: [...servers.brokers],
    autocommit: false,
  });
  const found: Read[] = [];
  try {
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest' });
    for await (const { partition, offset, timestamp, key, value, headers } of stream) {
      // A Map by Buffers: each entry is a key of its own, so that repeats and the order stay.
      const pairs = Array.from(headers, ([name, bytes]): [string, string | null] => [
        name.toString(),
        bytes?.toString('hex') ?? null,
      ]);
      found.push({
        partition,
        offset,
        timestamp,
        key: key?.toString('hex') ?? null,
        value: value?.toString('hex') ?? null,
        headers: pairs,
      });
      if (found.length >= count) {
        break;
      }
    }
  } finally {
    await consumer.close(true);
  }
  return found.toSorted((left, right) => left.partition - right.partition || Number(left.offset - right.offset));
}

async function endOffsets(topic: string): Promise<number> {
  const [description] = await admin.describeTopics([topic]);
  const partitions = (description?.partitions ?? []).map(({ partition }) => ({ topic, partition }));
  const offsets = await admin.listOffsets(partitions, 'latest');
  return offsets.reduce((sum, { offset }) => sum + Number(offset), 0);
}

async function failureOf(work: Promise<unknown>): Promise<KpipeError> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof KpipeError)) {
    throw new Error(`not a KpipeError: ${String(failure)}`);
  }
  return failure;
}

const hex = (text: string): string => Buffer.from(text).toString('hex');
const text = (value: string, over: Partial<OutgoingRecord> = {}): OutgoingRecord => ({
  key: null,
  value: Buffer.from(value),
  ...over,
});

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

afterAll(async () => {
  await Promise.all(topics.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

describe('what arrives', () => {
  test('is what was sent: keys, values and headers byte for byte, timestamps, tombstones', async () => {
    const topic = await newTopic(1);
    const headers: readonly RecordHeader[] = [
      ['b', Buffer.from('1')],
      ['a', null],
      ['b', Buffer.from([0xff, 0])],
      ['1', Buffer.alloc(0)],
      ['__proto__', Buffer.from('p')],
      ['constructor', Buffer.from('c')],
      ['', Buffer.from('no name')],
      ['ä', Buffer.from('b')],
    ];

    await (
      await publisher()
    ).publish(topic, [
      { key: Buffer.from([0xff, 0, 0xfe]), value: Buffer.from([0, 0xff]), timestampMs: 0, headers },
      { key: Buffer.alloc(0), value: Buffer.alloc(0), timestampMs: 1_700_000_000_123 },
      { key: Buffer.from('gone'), value: null, timestampMs: 999 },
    ]);

    const records = await read(topic, 3);
    expect(records.map(({ key, value, timestamp }) => [key, value, timestamp])).toEqual([
      ['ff00fe', '00ff', 0n],
      ['', '', 1_700_000_000_123n],
      [hex('gone'), null, 999n],
    ]);
    expect(records[0]?.headers).toEqual([
      ['b', hex('1')],
      ['a', null],
      ['b', 'ff00'],
      ['1', ''],
      ['__proto__', hex('p')],
      ['constructor', hex('c')],
      ['', hex('no name')],
      ['ä', hex('b')],
    ]);
    expect(records[1]?.headers).toEqual([]);
  });

  test('lies where the Java client would put it, and where deliver() says', async () => {
    const topic = await newTopic(5);
    const records = Array.from({ length: 300 }, (_, index) =>
      text(`v${index}`, { key: Buffer.from(`key-${index % 60}`) }),
    );

    const deliveries = await (await publisher()).deliver(topic, records);

    const found = await read(topic, 300);
    const placed = new Map(found.map(({ partition, offset, value }) => [`${partition}/${offset}`, value]));
    for (const [index, delivery] of deliveries.entries()) {
      expect(delivery).toMatchObject({ kind: 'acked', partition: partitionOfKey(Buffer.from(`key-${index % 60}`), 5) });
      expect(delivery.kind === 'acked' ? placed.get(`${delivery.partition}/${delivery.offset}`) : undefined).toBe(
        hex(`v${index}`),
      );
    }
  });

  test('keeps the order of each partition over many calls at once', async () => {
    const topic = await newTopic(3);
    const producer = await publisher();
    const calls = Array.from({ length: 40 }, (_, call) =>
      producer.publish(
        topic,
        Array.from({ length: 50 }, (__, index) => text(String(call * 50 + index), { partition: index % 3 })),
      ),
    );
    await Promise.all(calls);

    const found = await read(topic, 2000);
    for (const partition of [0, 1, 2]) {
      const numbers = found
        .filter((each) => each.partition === partition)
        .map(({ value }) => Number(Buffer.from(value ?? '', 'hex').toString()));
      expect(numbers).toEqual([...numbers].toSorted((left, right) => left - right));
    }
    expect(await endOffsets(topic)).toBe(2000);
  });
});

describe('what the broker refuses', () => {
  test('a record that is too large fails alone, and says how large it is; its neighbours arrive', async () => {
    const topic = await newTopic(1, { 'max.message.bytes': '100000' });
    const records = Array.from({ length: 9 }, (_, index) =>
      index === 4 ? { key: null, value: Buffer.alloc(150_000, 97) } : text(`v${index}`),
    );

    const deliveries = await (await publisher()).deliver(topic, records);

    expect(deliveries.map(({ kind }) => kind)).toEqual([
      'acked',
      'acked',
      'acked',
      'acked',
      'failed',
      'acked',
      'acked',
      'acked',
      'acked',
    ]);
    expect(deliveries[4]).toMatchObject({
      scope: 'record',
      error: {
        code: 'KPIPE_PRODUCE_FAILED',
        message: expect.stringMatching(/150020 bytes.*max\.message\.bytes/) as string,
      },
    });
    expect((await read(topic, 8)).map(({ value }) => value)).toEqual(
      [0, 1, 2, 3, 5, 6, 7, 8].map((index) => hex(`v${index}`)),
    );
  });

  test('publish() throws for it, and tells how many of how many', async () => {
    const topic = await newTopic(1, { 'max.message.bytes': '100000' });
    const large = { key: null, value: Buffer.alloc(150_000, 97) };
    const producer = await publisher();

    const partly = await failureOf(producer.publish(topic, [text('a'), large]));
    const wholly = await failureOf(producer.publish(topic, [large]));

    expect(partly).toMatchObject({
      code: 'KPIPE_PRODUCE_FAILED',
      message: expect.stringContaining(`1 of 2 records for ${topic}`) as string,
    });
    expect(wholly.message).toMatch(/^a record of 150020 bytes is larger/);
    expect(wholly.next).toMatch(/max\.message\.bytes/);
  });

  test('a topic that is missing is told as such, with what makes it; nothing makes it by accident', async () => {
    const topic = uniqueTopic('publisher-missing');
    const failure = await failureOf((await publisher()).publish(topic, [text('x')]));

    expect(failure).toMatchObject({ code: 'KPIPE_TOPIC_MISSING', where: { topic } });
    expect(failure.next).toContain('kpipe topics apply');
    expect(await admin.describeTopics([topic])).toEqual([]);
  });
});

describe('brokers that are not there', () => {
  test('nobody listens: told, with the brokers', async () => {
    const brokers = ['127.0.0.1:1', '127.0.0.1:2'];

    const failure = await failureOf(openPublisher({ ...config, brokers }));

    expect(failure).toMatchObject({ code: 'KPIPE_KAFKA_UNREACHABLE', where: { brokers: brokers.join(',') } });
    expect(failure.message).toContain('ECONNREFUSED');
  });

  test('somebody listens and says nothing: told, and nothing is left open', async () => {
    const sockets = new Set<Socket>();
    const mute = await muteServer(sockets);
    const failure = await failureOf(openPublisher({ ...config, brokers: [`127.0.0.1:${portOf(mute)}`] }));

    expect(failure.code).toBe('KPIPE_KAFKA_UNREACHABLE');
    await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 60_000 });
    mute.close();
  });

  test('the first of them listens and says nothing: the next one is asked', async () => {
    const topic = await newTopic(1);
    const mute = await muteServer(new Set());
    const brokers = [`127.0.0.1:${portOf(mute)}`, ...config.brokers];

    const producer = await publisher({ connectDeadlineMs: 25_000 }, { ...config, brokers, connectTimeout: 2000 });
    await producer.publish(topic, [text('heard')]);

    expect((await read(topic, 1)).map(({ value }) => value)).toEqual([Buffer.from('heard').toString('hex')]);
    mute.close();
  });
});

/** Takes connections, and never answers. */
async function muteServer(sockets: Set<Socket>): Promise<Server> {
  const mute = createServer((socket) => {
    sockets.add(socket);
    socket
      .on('close', () => sockets.delete(socket))
      .on('error', () => undefined)
      .resume();
  });
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  return mute;
}

describe('brokers that go away', () => {
  test('a connection that stalls is given up for a new one, and nothing is lost', async () => {
    const topic = await newTopic(3);
    await using net = await StallingNetwork.before(config);
    const troubles: SendTrouble[] = [];
    const producer = await publisher({ stallMs: 1000, onTrouble: (trouble) => troubles.push(trouble) }, net.config);
    const send = (from: number): Promise<void> =>
      producer.publish(
        topic,
        Array.from({ length: 30 }, (_, index) => text(String(from + index), { partition: index % 3 })),
      );
    await send(0);

    net.stall();
    const held = send(100);
    await vi.waitFor(() => expect(troubles.length).toBeGreaterThan(0), { timeout: 60_000 });
    net.resume();
    await held;
    await send(200);

    // What stalled may have arrived after all: a repeat is allowed, a loss is not.
    const end = await endOffsets(topic);
    const values = new Set((await read(topic, end)).map(({ value }) => Buffer.from(value ?? '', 'hex').toString()));
    expect([...values].map(Number).toSorted((left, right) => left - right)).toEqual(
      [0, 100, 200].flatMap((from) => Array.from({ length: 30 }, (_, index) => from + index)),
    );
  });

  test('connections that are cut in the middle of sends lose nothing', async () => {
    const topic = await newTopic(3);
    await using net = await StallingNetwork.before(config);
    const producer = await publisher({}, net.config);
    await producer.publish(topic, [text('-1', { partition: 0 })]);
    const acceptedBefore = net.accepted;
    const sends: Promise<void>[] = [];
    for (let call = 0; call < 60; call += 1) {
      sends.push(
        producer.publish(
          topic,
          Array.from({ length: 20 }, (_, index) => text(String(call * 20 + index), { partition: index % 3 })),
        ),
      );
      if (call % 15 === 14) {
        net.cut();
      }
      await Promise.race([sends.at(-1), new Promise((resolve) => setImmediate(resolve))]);
    }
    net.cut();
    await Promise.all(sends);
    expect(net.accepted).toBeGreaterThan(acceptedBefore);

    const end = await endOffsets(topic);
    const values = new Set(
      (await read(topic, end)).map(({ value }) => Number(Buffer.from(value ?? '', 'hex').toString())),
    );
    expect(values.size).toBe(1201);
  });

  test('records that are never acked fail at their time, and say that they may be there', async () => {
    const topic = await newTopic(1);
    await using net = await StallingNetwork.before(config);
    const producer = await publisher({ stallMs: 500, deliveryTimeoutMs: 1500 }, net.config);
    await producer.publish(topic, [text('first')]);

    net.stall();
    const failure = await failureOf(producer.publish(topic, [text('second')]));

    expect(failure.code).toBe('KPIPE_PRODUCE_FAILED');
    expect(failure.next).toContain('may or may not be in the topic');
  });

  test('close() does not wait for ever for what is in flight', async () => {
    const topic = await newTopic(1);
    await using net = await StallingNetwork.before(config);
    const producer = await publisher({ closeDeadlineMs: 500 }, net.config);
    await producer.publish(topic, [text('first')]);
    net.stall();

    const held = failureOf(producer.publish(topic, [text('second')]));
    await producer.close();

    expect((await held).code).toBe('KPIPE_PRODUCE_FAILED');
    expect((await failureOf(producer.publish(topic, [text('third')]))).message).toContain('the producer is closed');
  });
});

/**
 * Stands between the publisher and the real brokers, as a network does. kafkajs learns the brokers' own addresses from
 * them, so the proxies must have those: each listens on its broker's port at another loopback address, and answers that
 * name 127.0.0.1 are rewritten to it (the length stays).
 */
class StallingNetwork implements AsyncDisposable {
  readonly config: KafkaConfig;
  readonly #servers: readonly Server[];
  readonly #pairs: Set<readonly [client: Socket, broker: Socket]>;
  readonly #state: NetworkState;

  private constructor(
    on: KafkaConfig,
    listening: readonly Server[],
    pairs: Set<readonly [Socket, Socket]>,
    state: NetworkState,
  ) {
    this.config = on;
    this.#servers = listening;
    this.#pairs = pairs;
    this.#state = state;
  }

  static async before(on: KafkaConfig): Promise<StallingNetwork> {
    const pairs = new Set<readonly [Socket, Socket]>();
    const state: NetworkState = { stalled: false, accepted: 0 };
    const ports = servers.brokers.map((broker) => Number(broker.split(':').at(-1)));
    const listening = await Promise.all(ports.map((port) => listen(port, pairs, state)));
    return new StallingNetwork(
      { ...on, brokers: ports.map((port) => `${proxyHost}:${port}`) },
      listening,
      pairs,
      state,
    );
  }

  /** Connections that were made so far. */
  get accepted(): number {
    return this.#state.accepted;
  }

  /** Nothing passes any more; connections stay open. */
  stall(): void {
    this.#state.stalled = true;
    for (const [client, broker] of this.#pairs) {
      client.pause();
      broker.pause();
    }
  }

  resume(): void {
    this.#state.stalled = false;
    for (const [client, broker] of this.#pairs) {
      client.resume();
      broker.resume();
    }
  }

  cut(): void {
    for (const [client, broker] of this.#pairs) {
      client.destroy();
      broker.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(closers.splice(0).map((close) => close()));
    this.cut();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

interface NetworkState {
  stalled: boolean;
  accepted: number;
}

const proxyHost = '127.0.0.2';

async function listen(port: number, pairs: Set<readonly [Socket, Socket]>, state: NetworkState): Promise<Server> {
  const server = createServer((client) => {
    const broker = connect({ host: '127.0.0.1', port });
    state.accepted += 1;
    const pair = [client, broker] as const;
    pairs.add(pair);
    client.on('data', (bytes) => broker.write(bytes));
    broker.on('data', (bytes) => client.write(renamed(bytes)));
    for (const [one, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      one
        .on('error', () => undefined)
        .on('close', () => {
          pairs.delete(pair);
          other.destroy();
        });
    }
    if (state.stalled) {
      client.pause();
      broker.pause();
    }
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, proxyHost, resolve));
  return server;
}

function renamed(bytes: Buffer): Buffer {
  const from = Buffer.from('127.0.0.1');
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at + from.length)) {
    bytes.write(proxyHost, at, 'latin1');
  }
  return bytes;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
