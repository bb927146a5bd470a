// What reading records takes: kpipe's own fetch loop beside kafkajs' eachBatch, both without a sink.
//
//   kpipe sandbox up && npm run build && node bench/fetch.mjs [--records 1000000] [--rounds 3] [--sizes 300,1024]
//
// Each reader in a process of its own, interleaved, the log warm; 6 partitions, batches of 100 records, uncompressed;
// checksums are checked by kpipe alone (kafkajs checks none). Every record's key, value and headers are looked at. CPU is
// the reader's own, from its first request to its last record. Reads the sandbox's kpipe.yaml (--config); works in topics
// of its own and removes them.
import { fork } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { PartitionFetcher } from '../dist/lib/kafka/fetch/partition-fetcher.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    records: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '300,1024' },
    reader: { type: 'string' },
    topic: { type: 'string' },
  },
});
const partitions = 6;
const records = Number(values.records);
const { kafka: config } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const client = await createKafkaJs(config, 'bench-fetch');

/** Counts what it looks at, so that no reader may skip decoding. */
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

const readers = {
  async kpipe(topic, looked, begin) {
    const fetcher = await PartitionFetcher.open(config, {
      topic,
      clientId: 'bench',
      maxBytesPerPartition: 1024 * 1024,
      maxBytes: 1024 * 1024,
      minBytes: 1,
      maxWaitMs: 500,
    });
    begin();
    for (let partition = 0; partition < partitions; partition += 1) {
      fetcher.add({ topic, partition }, 0n, (batch) => {
        for (const { key, value, headers } of batch.records) {
          looked.take(key, value, headers.length);
        }
        return Promise.resolve();
      });
    }
    void fetcher.run();
    await looked.done.promise;
    return () => fetcher.close();
  },
  async kafkajs(topic, looked, begin) {
    const consumer = client.consumer({
      groupId: topic,
      maxBytesPerPartition: 1024 * 1024,
      maxBytes: 1024 * 1024,
      maxWaitTimeInMs: 500,
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    // The group lets a member wait for others before it joins: that is not reading.
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
    cpu = process.cpuUsage();
    began = performance.now();
  });
  const { user, system } = process.cpuUsage(cpu);
  process.send({
    seconds: (performance.now() - began) / 1000,
    cpuSeconds: (user + system) / 1e6,
    rssMb: process.resourceUsage().maxRSS / 1024,
  });
  await end();
  process.exit(0);
}

async function produce(topic, size) {
  const producer = client.producer();
  await producer.connect();
  const value = 'v'.repeat(size);
  for (let at = 0; at < records; at += 600) {
    const messages = Array.from({ length: Math.min(600, records - at) }, (_, index) => ({
      key: `k${at + index}`,
      value,
      partition: index % partitions,
    }));
    await producer.send({ topic, acks: -1, messages });
  }
  await producer.disconnect();
}

function run(reader, topic) {
  const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--reader', reader, '--topic', topic]);
  return new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => code !== 0 && reject(new Error(`${reader} ended with ${code}`)));
  });
}

function median(numbers) {
  const sorted = numbers.toSorted((left, right) => left - right);
  const text = (number) => number.toFixed(2);
  return `${text(sorted[sorted.length >> 1])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}

const admin = client.admin();
await admin.connect();
const rounds = Number(values.rounds);
console.log(
  `node ${process.versions.node}, ${cpus().length} cores shared with the brokers; ${records} records on ${partitions} partitions; median (min–max) of n = ${rounds}`,
);
console.log('bytes  reader   CPU s per million    1,000 records/s    peak MB');
for (const size of values.sizes.split(',').map(Number)) {
  const topic = `bench-fetch-${process.pid}-${size}`;
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }],
  });
  try {
    await produce(topic, size);
    const results = { kpipe: [], kafkajs: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const reader of round % 2 === 0 ? ['kpipe', 'kafkajs'] : ['kafkajs', 'kpipe']) {
        results[reader].push(await run(reader, topic));
      }
    }
    for (const [reader, runs] of Object.entries(results)) {
      const perMillion = runs.map(({ cpuSeconds }) => (cpuSeconds * 1e6) / records);
      const perSec = runs.map(({ seconds }) => records / seconds / 1000);
      const rss = runs.map(({ rssMb }) => rssMb);
      console.log(
        `${String(size).padStart(5)}  ${reader.padEnd(7)}  ${median(perMillion)}    ${median(perSec)}    ${median(rss)}`,
      );
    }
    const ratios = results.kpipe.map((ours, round) => ours.cpuSeconds / results.kafkajs[round].cpuSeconds);
    console.log(`${String(size).padStart(5)}  kpipe/kafkajs, CPU round by round: ${median(ratios)}`);
  } finally {
    await admin.deleteTopics({ topics: [topic] }).catch(() => undefined);
  }
}
await admin.disconnect();
