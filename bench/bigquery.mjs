// What role analytics takes to write BigQuery, beside the same client's bare loop, into the sandbox's stand-in:
//
//   storage   kpipe, from Kafka, by the Storage Write API
//   streams   the bare loop: the same rows, made before, appended to PENDING streams of as many rows and committed
//   load      kpipe, from Kafka, by load jobs
//   jobs      the bare loop: the same lines, made before, in load jobs of as many rows
//
//   kpipe sandbox up && npm run build && node bench/bigquery.mjs [--records 20000] [--rounds 3] [--config kpipe.yaml]
//
// The stand-in is the bottleneck of all four, and its speed says nothing of Google's: only the ratios do. kpipe's numbers
// begin when it holds its partition and end with the last batch, to 100 ms; CPU is the process's, without the stand-in's.
// Medians of the rounds, which are interleaved. Works in a topic, a group and a dataset of its own and removes them.
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';

import { rowDescriptor } from '../dist/lib/bigquery/columns.js';
import { connectBigQuery } from '../dist/lib/bigquery/connection.js';
import { createRowEncoder } from '../dist/lib/bigquery/encode.js';
import { tableResource } from '../dist/lib/bigquery/intent.js';
import { loadJobs } from '../dist/lib/bigquery/load-jobs.js';
import { createLineEncoder } from '../dist/lib/bigquery/ndjson.js';
import { ensureTable } from '../dist/lib/bigquery/table.js';
import { countRows } from '../dist/lib/bigquery/warehouse.js';
import { pendingStreams } from '../dist/lib/bigquery/writer.js';
import { loadConfig, parseConfig } from '../dist/lib/config/load.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';
import { consumeRole } from '../dist/lib/roles/consume.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    records: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
  },
});
const records = Number(values.records);
const rounds = Number(values.rounds);
const batchRows = 5000;
const sandbox = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
if (sandbox.bigquery?.endpoint === undefined) {
  throw new Error('bigquery.endpoint is not set: this bench is for the stand-in, not for a bill');
}
const name = `bench_bigquery_${randomBytes(4).toString('hex')}`;
const target = { ...sandbox.bigquery, dataset: name, table: 'events', loadInterval: 1 };
const startMs = 1_795_000_000_000;
const data = (n) => JSON.stringify({ page: `/products/${n}`, ms: n % 977, referrer: 'x'.repeat(200) });

const kafka = await createKafkaJs(sandbox.kafka, 'bench');
const admin = kafka.admin();
await admin.connect();
const connection = await connectBigQuery(target);
await ensureTable(connection);

/** One partition, so that the bare loop has nothing to do one after another that kpipe does side by side. */
async function fill(topic) {
  await admin.createTopics({
    topics: [topic, `${topic}.dlq`].map((each) => ({ topic: each, numPartitions: 1, replicationFactor: 1 })),
    waitForLeaders: true,
  });
  const producer = kafka.producer();
  await producer.connect();
  for (let from = 0; from < records; from += 2000) {
    const messages = Array.from({ length: Math.min(2000, records - from) }, (_, index) => {
      const n = from + index;
      const value = `{"id":"view-${n}","source":"/shop","type":"page.viewed","time":${startMs + n},"data":${data(n)}}`;
      return { value };
    });
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}

function rowOf(n) {
  return {
    offset: BigInt(n),
    id: Buffer.from(`view-${n}`),
    source: Buffer.from('/shop'),
    type: Buffer.from('page.viewed'),
    subject: null,
    timeMicros: BigInt(startMs + n) * 1000n,
    data: Buffer.from(data(n)),
    extensions: null,
    ingestedAtMs: Date.now(),
  };
}

function batchesOf(encode) {
  const encoded = Array.from({ length: records }, (_, n) => encode(rowOf(n)));
  return Array.from({ length: Math.ceil(records / batchRows) }, (_, index) =>
    encoded.slice(index * batchRows, (index + 1) * batchRows),
  );
}

async function measured(work) {
  const cpu = process.cpuUsage();
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSec: records / seconds, cpuPerMillion: (user + system) / records };
}

/** Bare loops: rows that were made before, nothing but the client. */
const bare = {
  async streams(topic) {
    const batches = batchesOf(createRowEncoder(topic, 0));
    const streams = pendingStreams(connection);
    return measured(async () => {
      for (const batch of batches) {
        const stream = await streams.create();
        await streams.append(stream, batch, rowDescriptor([]));
        await streams.finalize(stream, batch.length);
        await streams.commit(stream);
      }
    });
  },
  async jobs(topic) {
    const batches = batchesOf(createLineEncoder(topic, 0)).map((lines) => Buffer.concat(lines));
    const jobs = loadJobs(connection);
    return measured(async () => {
      for (const body of batches) {
        const id = `bench_${randomBytes(8).toString('hex')}`;
        await jobs.run({ id, location: '', table: tableResource(target) }, body);
      }
    });
  },
};

/** The role in this process, over a topic that is full; the group's join is not counted. */
async function role(topic, write) {
  const document = {
    pipeline: 'bench',
    kafka: { brokers: [...sandbox.kafka.brokers] },
    roles: {
      analytics: {
        topic,
        group: topic,
        deadLetters: `${topic}.dlq`,
        batch: { maxRows: batchRows, maxBytes: '8MB', maxWait: '50ms' },
      },
    },
    bigquery: {
      project: target.project,
      dataset: name,
      write,
      endpoint: target.endpoint,
      grpcEndpoint: target.grpcEndpoint,
      loadInterval: '1ms',
    },
  };
  const config = parseConfig(JSON.stringify(document), 'bench', process.env);
  let begun = null;
  let ended = null;
  await consumeRole(config, 'analytics', {
    untilDrained: true,
    forMs: null,
    concurrency: 3,
    skipLost: false,
    acceptRecreated: false,
    metrics: null,
    // Each asks Kafka for the backlog: more often, and on a busy machine the watching would be what is measured.
    reportEveryMs: 100,
    onReport: ({ partitions, totals }) => {
      begun ??= partitions > 0 ? { cpu: process.cpuUsage(), at: performance.now() } : null;
      ended ??=
        begun !== null && totals.records === records
          ? { cpu: process.cpuUsage(begun.cpu), at: performance.now() }
          : null;
    },
    notice: () => undefined,
    signal: new AbortController().signal,
  });
  ended ??= { cpu: process.cpuUsage(begun.cpu), at: performance.now() };
  return {
    perSec: (records * 1000) / (ended.at - begun.at),
    cpuPerMillion: (ended.cpu.user + ended.cpu.system) / records,
  };
}

const ways = {
  storage: (topic) => role(topic, 'storage'),
  streams: bare.streams,
  load: (topic) => role(topic, 'load'),
  jobs: bare.jobs,
};
const seen = new Map(Object.keys(ways).map((way) => [way, []]));
const median = (numbers) => numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)];
const topics = [];
try {
  for (let round = 0; round < rounds; round += 1) {
    for (const [way, run] of Object.entries(ways)) {
      const topic = `${name}-${way}-${round}`;
      topics.push(topic);
      if (way === 'storage' || way === 'load') {
        await fill(topic);
      }
      seen.get(way).push(await run(topic));
      const { rows } = await countRows(target, { topic });
      if (rows !== records) {
        throw new Error(`${way} left ${rows} rows of ${records}`);
      }
    }
  }
  console.log(`n = ${records} records of about 300 B in batches of ${batchRows}, medians of ${rounds} rounds`);
  console.log('way        records/s   CPU s per million   of the bare loop   rounds');
  for (const [way, results] of seen) {
    const perSec = median(results.map((result) => result.perSec));
    const limit = { storage: 'streams', load: 'jobs' }[way];
    const share =
      limit === undefined ? '' : (perSec / median(seen.get(limit).map((result) => result.perSec))).toFixed(2);
    const cpu = median(results.map((result) => result.cpuPerMillion)).toFixed(1);
    const each = results.map((result) => Math.round(result.perSec)).join(' ');
    console.log(
      `${way.padEnd(9)} ${String(Math.round(perSec)).padStart(10)} ${cpu.padStart(19)} ${share.padStart(18)}   ${each}`,
    );
  }
} finally {
  await admin.deleteGroups(topics).catch(() => undefined);
  await admin.deleteTopics({ topics: topics.flatMap((topic) => [topic, `${topic}.dlq`]) }).catch(() => undefined);
  await connection.rest.dataset(name).delete({ force: true });
  await connection.close();
  await admin.disconnect();
}
