// Role analytics as a process of its own, into the sandbox's stand-in, by each writer:
//
//   latency   records come at a steady rate; from before a record is sent to when the group is past it, which it is only
//             once its row can be seen. Polled every 20 ms, so that this is the most it took
//   memory    the most that the process held (VmHWM), at that rate and while it catches up with a backlog
//
//   kpipe sandbox up && npm run build
//   node bench/bigquery-latency.mjs [--seconds 30] [--rate 1000] [--wait 1s] [--backlog 100000] [--config kpipe.yaml]
//
// --wait is the role's batch.maxWait, and with load jobs their interval too (of Google's BigQuery it is 60 s and more):
// half of it is waiting on average. The stand-in's part in it says nothing of Google's. Works in topics, groups and a
// dataset of its own and removes them.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { connectBigQuery } from '../dist/lib/bigquery/connection.js';
import { countRows } from '../dist/lib/bigquery/warehouse.js';
import { loadConfig } from '../dist/lib/config/load.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    seconds: { type: 'string', default: '30' },
    rate: { type: 'string', default: '1000' },
    wait: { type: 'string', default: '1s' },
    backlog: { type: 'string', default: '100000' },
  },
});
const rate = Number(values.rate);
const backlog = Number(values.backlog);
const root = fileURLToPath(new URL('..', import.meta.url));
const sandbox = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
if (sandbox.bigquery?.endpoint === undefined) {
  throw new Error('bigquery.endpoint is not set: this bench is for the stand-in, not for a bill');
}
const name = `bench_latency_${randomBytes(4).toString('hex')}`;
const target = { ...sandbox.bigquery, dataset: name, table: 'events' };
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const kafka = await createKafkaJs(sandbox.kafka, 'bench');
const admin = kafka.admin();
const producer = kafka.producer();
await Promise.all([admin.connect(), producer.connect()]);
const topics = [];
const children = [];

async function newTopic(label) {
  const topic = `${name}-${label}`;
  topics.push(topic);
  await admin.createTopics({
    topics: [topic, `${topic}.dlq`].map((each) => ({ topic: each, numPartitions: 1, replicationFactor: 1 })),
    // A busy cluster may not know them for a moment, which the producer waits for and the admin does not.
    waitForLeaders: false,
  });
  return topic;
}

const record = (n) => ({
  value: `{"id":"view-${n}","source":"/shop","type":"page.viewed","data":{"page":"/products/${n}","ms":${n % 977},"referrer":"${'x'.repeat(200)}"}}`,
});

/** The role, and the most memory it held so far. */
function start(topic, write, ...more) {
  const document = {
    pipeline: 'bench',
    kafka: { brokers: [...sandbox.kafka.brokers] },
    roles: { analytics: { topic, group: topic, deadLetters: `${topic}.dlq`, batch: { maxWait: values.wait } } },
    bigquery: {
      project: target.project,
      dataset: name,
      write,
      endpoint: target.endpoint,
      grpcEndpoint: target.grpcEndpoint,
      loadInterval: values.wait,
    },
  };
  const file = join(directory, `${topic}.yaml`);
  writeFileSync(file, JSON.stringify(document));
  const child = spawn(process.execPath, [join(root, 'bin/run.js'), 'consume', 'analytics', '-c', file, ...more], {
    stdio: 'ignore',
  });
  children.push(child);
  let peakMb = 0;
  const watch = setInterval(() => {
    try {
      const kb = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
      peakMb = Math.max(peakMb, Number(kb ?? 0) / 1024);
    } catch {
      clearInterval(watch);
    }
  }, 50);
  const ended = new Promise((resolve) => {
    child.once('exit', (code) => {
      clearInterval(watch);
      resolve(code);
    });
  });
  return { child, ended, peakMb: () => Math.round(peakMb) };
}

async function position(topic) {
  const [entry] = await admin.fetchOffsets({ groupId: topic, topics: [topic] }).catch(() => []);
  return Math.max(0, Number(entry?.partitions[0]?.offset ?? 0));
}

async function steady(write) {
  const topic = await newTopic(`steady-${write}`);
  await producer.send({ topic, messages: [record(0)] });
  const role = start(topic, write);
  while ((await position(topic)) < 1) {
    await sleep(100);
  }
  const total = 1 + rate * Number(values.seconds);
  const sentAt = [0];
  const latencies = [];
  const sending = (async () => {
    const began = performance.now();
    while (sentAt.length < total) {
      const due = Math.min(total, 1 + Math.floor(((performance.now() - began) * rate) / 1000));
      const messages = [];
      while (sentAt.length < due) {
        messages.push(record(sentAt.length));
        sentAt.push(performance.now());
      }
      if (messages.length > 0) {
        // One after the other: a record's place in the topic is its number.
        await producer.send({ topic, messages });
      }
      await sleep(5);
    }
    return (sentAt.length - 1) / ((performance.now() - began) / 1000);
  })();
  for (let seen = 1; seen < total; await sleep(20)) {
    const now = await position(topic);
    const at = performance.now();
    for (; seen < now; seen += 1) {
      latencies.push(at - sentAt[seen]);
    }
  }
  const sentPerSec = await sending;
  role.child.kill('SIGTERM');
  const code = await role.ended;
  const { rows, records } = await countRows(target, { topic });
  if (code !== 0 || rows !== total || records !== total) {
    throw new Error(`${write}: exit ${code}, ${rows} rows of ${total} records`);
  }
  latencies.sort((one, other) => one - other);
  const at = (share) => (latencies[Math.floor((latencies.length - 1) * share)] / 1000).toFixed(2);
  console.log(
    `${write.padEnd(8)} ${Math.round(sentPerSec)}/s, n = ${latencies.length}: p50 ${at(0.5)} s, p95 ${at(0.95)} s, p99 ${at(0.99)} s, most ${at(1)} s; ${role.peakMb()} MB`,
  );
}

async function catchUp(write) {
  const topic = await newTopic(`backlog-${write}`);
  for (let from = 0; from < backlog; from += 2000) {
    const length = Math.min(2000, backlog - from);
    await producer.send({ topic, messages: Array.from({ length }, (_, index) => record(from + index)) });
  }
  const role = start(topic, write, '--until-drained');
  const code = await role.ended;
  const { rows } = await countRows(target, { topic });
  if (code !== 0 || rows !== backlog) {
    throw new Error(`${write}: exit ${code}, ${rows} rows of ${backlog} records`);
  }
  console.log(`${write.padEnd(8)} a backlog of ${backlog} records: ${role.peakMb()} MB`);
}

try {
  for (const write of ['storage', 'load']) {
    console.log(`load of the machine ${loadavg()[0].toFixed(1)}, batch.maxWait ${values.wait}`);
    await steady(write);
    await catchUp(write);
  }
} finally {
  children.forEach((child) => child.kill('SIGKILL'));
  await producer.disconnect();
  await admin.deleteGroups(topics).catch(() => undefined);
  await admin.deleteTopics({ topics: topics.flatMap((topic) => [topic, `${topic}.dlq`]) }).catch(() => undefined);
  const connection = await connectBigQuery(target);
  await connection.rest
    .dataset(name)
    .delete({ force: true })
    .catch(() => undefined);
  await connection.close();
  await admin.disconnect();
  rmSync(directory, { recursive: true, force: true });
}
