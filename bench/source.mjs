// What reading a topic takes, side by side in one run and interleaved:
//
//   kpipe    the Source that kafka.source names, as a role uses it (--protocol chooses the group's)
//   kafkajs  eachBatch, as a service would write it
//   kcat     kcat -C of every partition, printing nothing
//   java     kafka-consumer-perf-test of the sandbox's Kafka
//
//   kpipe sandbox up && npm run build && node bench/source.mjs [--records 1000000] [--rounds 3]
//     [--sizes 300,1024] [--batch 100]
//
// Records on 6 partitions, in batches of `--batch` records, uncompressed, in the page cache. Each reader in a process of its
// own. `reading` is from the reader's first request to its last record, as far as it can tell; `process` is everything, from
// exec to exit. Every record's key, value and headers are looked at by kpipe and kafkajs. A reader that is not installed is
// left out, and that is said. Reads the sandbox's kpipe.yaml (--config); works in topics of its own and removes them.
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';
import { openSource } from '../dist/lib/kafka/open-source.js';
import { keepYoungGenerationSmall } from '../dist/lib/runtime/young-generation.js';
import { findTools } from '../dist/lib/sandbox/tools.js';
import { measured } from './delivery/cpu.mjs';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    records: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '300,1024' },
    batch: { type: 'string', default: '100' },
    protocol: { type: 'string', default: 'auto' },
    only: { type: 'string', default: 'kpipe,kafkajs,kcat,java' },
    reader: { type: 'string' },
    topic: { type: 'string' },
  },
});
const partitions = 6;
const records = Number(values.records);
const rounds = Number(values.rounds);
const batchRecords = Number(values.batch);
const { kafka: config } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const brokers = config.brokers.join(',');

/** Looks at what no reader may skip; tells when it has seen everything. */
class Looked {
  count = 0;
  bytes = 0;
  done = Promise.withResolvers();

  take(key, value, headers) {
    this.bytes += (key?.length ?? 0) + value.length + headers;
    this.count += 1;
    if (this.count === records) {
      this.done.resolve();
    }
  }
}

/** Each calls `begin` when the group has let it in: waiting for that is not reading. */
const readers = {
  async kpipe(topic, looked, begin) {
    keepYoungGenerationSmall();
    const source = await openSource(
      { ...config, group: { protocol: values.protocol } },
      {
        topic,
        group: topic,
        clientId: 'bench',
        maxBytesPerPartition: 1024 * 1024,
        maxWaitMs: 100,
        instanceId: null,
        notice: (text) => console.error(text),
      },
    );
    const ended = source.run({
      joined: () => undefined,
      assigned: () => {
        begin();
        return Promise.resolve(0n);
      },
      fetched: ({ records: batch }) => {
        for (const { key, value, headers } of batch) {
          looked.take(key, value, headers.length);
        }
        return Promise.resolve();
      },
      revoked: () => Promise.resolve(),
    });
    await Promise.race([looked.done.promise, ended]);
    return () => source.stop();
  },
  async kafkajs(topic, looked, begin) {
    const client = await createKafkaJs(config, 'bench-source');
    const consumer = client.consumer({ groupId: topic, maxBytesPerPartition: 1024 * 1024, maxBytes: 8 * 1024 * 1024 });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    consumer.on(consumer.events.GROUP_JOIN, begin);
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch }) => {
        for (const { key, value, headers } of batch.messages) {
          looked.take(key, value, Object.keys(headers).length);
        }
        return Promise.resolve();
      },
    });
    await looked.done.promise;
    return () => consumer.disconnect();
  },
};

if (values.reader !== undefined) {
  const looked = new Looked();
  let cpu;
  let began;
  const end = await readers[values.reader](values.topic, looked, () => {
    cpu ??= process.cpuUsage();
    began ??= performance.now();
  });
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 }));
  await end();
  process.exit(0);
}

const self = fileURLToPath(import.meta.url);
const own = (reader) => ({
  missing: null,
  command: (topic) => [process.execPath, [self, ...process.argv.slice(2), '--reader', reader, '--topic', topic]],
  reading: ({ output }) => JSON.parse(output),
});
/** CPU while reading is known of those that tell it. */
const contenders = {
  kpipe: own('kpipe'),
  kafkajs: own('kafkajs'),
  kcat: {
    missing: spawnSync('kcat', ['-V']).error === undefined ? null : 'kcat is not installed: apt-get install kcat',
    command: (topic) => [
      'kcat',
      ['-C', '-b', brokers, '-t', topic, '-o', 'beginning', '-c', String(records), '-q', '-f', ''],
    ],
    // It joins no group: reading begins with the process.
    reading: ({ seconds }) => ({ seconds, cpu: null }),
  },
  java: java(),
};

function java() {
  try {
    const { java: runtime, kafka } = findTools(process.env);
    return {
      missing: null,
      command: (topic) => [
        runtime.java,
        [
          '-cp',
          kafka.classPath,
          '-Xmx512m',
          '-Dlog4j2.level=error',
          'org.apache.kafka.tools.ConsumerPerformance',
          `--bootstrap-server=${brokers}`,
          `--topic=${topic}`,
          `--messages=${records}`,
          '--timeout=60000',
          '--hide-header',
        ],
      ],
      // start, end, MB, MB/s, records, records/s, ms of the rebalance, ms of the fetching, …
      reading: ({ output }) => {
        const columns = output.trim().split('\n').at(-1).split(', ');
        if (Number(columns[4]) < records) {
          throw new Error(`kafka-consumer-perf-test read ${columns[4]} of ${records}`);
        }
        return { seconds: Number(columns[7]) / 1000, cpu: null };
      },
    };
  } catch (error) {
    return { missing: `kafka-consumer-perf-test: ${error.message}` };
  }
}

async function produce(client, topic, size) {
  const producer = client.producer();
  await producer.connect();
  const value = 'v'.repeat(size);
  const sent = partitions * batchRecords;
  for (let at = 0; at < records; at += sent) {
    const messages = Array.from({ length: Math.min(sent, records - at) }, (_, index) => ({
      key: `k${at + index}`,
      value,
      partition: index % partitions,
    }));
    await producer.send({ topic, acks: -1, messages });
  }
  await producer.disconnect();
}

function median(numbers, digits = 2) {
  const sorted = numbers.toSorted((left, right) => left - right);
  const text = (number) => number.toFixed(digits);
  return `${text(sorted[sorted.length >> 1])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}

const wanted = Object.keys(contenders).filter((name) => values.only.split(',').includes(name));
const running = wanted.filter((name) => contenders[name].missing === null);
for (const absent of wanted.filter((name) => !running.includes(name))) {
  console.log(`left out: ${contenders[absent].missing}`);
}
const client = await createKafkaJs(config, 'bench-source');
const admin = client.admin();
await admin.connect();
console.log(
  `node ${process.versions.node}, ${cpus().length} cores shared with the brokers; ${records} records on ${partitions} partitions in batches of ${batchRecords}; median (min–max) of n = ${rounds}`,
);
const widths = [6, 8, 20, 24, 24, 18];
const row = (cells) => console.log(cells.map((cell, at) => String(cell).padEnd(widths[at])).join(''));
row(['bytes', 'reader', 'reading, k rec/s', 'reading, CPU s per M', 'process, CPU s per M', 'peak MB']);
for (const size of values.sizes.split(',').map(Number)) {
  const topic = `bench-source-${process.pid}-${size}`;
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }],
  });
  try {
    await produce(client, topic, size);
    const runs = Object.fromEntries(running.map((name) => [name, []]));
    for (let round = 0; round < rounds; round += 1) {
      // Whoever goes first in a round is not always the same.
      for (const name of running.map((_, at) => running[(at + round) % running.length])) {
        const result = await measured(...contenders[name].command(topic));
        const { seconds, cpu } = contenders[name].reading(result);
        runs[name].push({ seconds, cpu, processCpu: result.cpu, rssMb: result.rssMb });
      }
    }
    for (const [name, all] of Object.entries(runs)) {
      const perMillion = (cpu) => (cpu * 1e6) / records;
      row([
        size,
        name,
        median(
          all.map(({ seconds }) => records / seconds / 1000),
          0,
        ),
        all[0].cpu === null ? '–' : median(all.map(({ cpu }) => perMillion(cpu))),
        median(all.map(({ processCpu }) => perMillion(processCpu))),
        median(
          all.map(({ rssMb }) => rssMb),
          0,
        ),
      ]);
    }
    if (runs.kpipe !== undefined && runs.kafkajs !== undefined) {
      const ratios = runs.kpipe.map(({ cpu }, round) => cpu / runs.kafkajs[round].cpu);
      console.log(`${size}: CPU of reading, kpipe over kafkajs, round by round: ${median(ratios)} (to be ≤ 0.80)`);
    }
  } finally {
    await admin.deleteTopics({ topics: [topic] }).catch(() => undefined);
    await admin.deleteGroups([topic]).catch(() => undefined);
  }
}
await admin.disconnect();
