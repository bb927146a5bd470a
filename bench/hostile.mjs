// What records that are made to hurt cost a role: memory, and how long the event loop stands still.
//
//   kpipe sandbox up && npm run build && nice node bench/hostile.mjs [--rounds 3] [--sources cooperative,kafkajs]
//
// Each case lies among 20,000 good records in a topic of its own, is read by a process of its own into a PostgreSQL of the
// bench's own, and is counted there and in the dead letter topic. The longest stall is what perf_hooks' event loop delay
// says (resolution 10 ms), from the first fetch to the last commit, and, whatever else the machine does, the most CPU time
// that the main thread took between two turns of the loop; peak memory is the process's own.
// Reads the brokers from the sandbox's kpipe.yaml (--config); removes what it makes.
import { fork } from 'node:child_process';
import { cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig, parseConfig } from '../dist/lib/config/load.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';
import { migrate } from '../dist/lib/postgres/migrate.js';
import { openPool } from '../dist/lib/postgres/pool.js';
import { consumeRole } from '../dist/lib/roles/consume.js';
import { encodeProduced } from '../test/support/record-batches.ts';
import { rawProduce } from '../test/support/raw-produce.ts';
import { startPostgres } from './delivery/postgres.mjs';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    rounds: { type: 'string', default: '3' },
    sources: { type: 'string', default: 'cooperative' },
    cases: { type: 'string' },
    consume: { type: 'string' },
  },
});
const goodCount = 20_000;
const timestampMs = Date.UTC(2026, 10, 1);
const event = (id, data) => Buffer.from(`{"id":"${id}","type":"order.updated","data":${data}}`);
const record = (value, headers = []) => ({ key: null, value, headers, timestampMs });
const many = (count, make) => Array.from({ length: count }, (_, index) => make(index));

/** `batches` are what the broker gets, one after the other; `stored` and `dead` what must come of them. */
const cases = [
  {
    name: '10,000 headers × 20',
    role: 'events',
    dead: 20,
    stored: 0,
    batches: () =>
      many(20, (index) => [
        record(
          event(`h${index}`, '{}'),
          many(10_000, (header) => [`h${header % 7}`, Buffer.from('x')]),
        ),
      ]),
  },
  {
    name: '64 MB in gzip × 5',
    role: 'logs',
    codec: 'gzip',
    dead: 5,
    stored: 0,
    batches: () => many(5, () => [record(Buffer.alloc(64 * 2 ** 20, 'a'))]),
  },
  {
    name: '64 MB in zstd × 5',
    role: 'logs',
    codec: 'zstd',
    dead: 5,
    stored: 0,
    batches: () => many(5, () => [record(Buffer.alloc(64 * 2 ** 20, 'a'))]),
  },
  {
    name: '1,000 deep × 2,000',
    role: 'events',
    dead: 0,
    stored: 2000,
    batches: () =>
      many(20, (batch) =>
        many(100, (index) => record(event(`d${batch}-${index}`, '['.repeat(1000) + ']'.repeat(1000)))),
      ),
  },
  {
    name: '100,000 deep × 50',
    role: 'events',
    dead: 50,
    stored: 0,
    batches: () => many(50, (index) => [record(event(`e${index}`, '['.repeat(100_000) + ']'.repeat(100_000)))]),
  },
  {
    name: '50,000 keys × 50',
    role: 'events',
    dead: 0,
    stored: 50,
    batches: () => {
      const wide = `{${many(50_000, (key) => `"k${key}":${key}`).join(',')}}`;
      return many(50, (index) => [record(event(`w${index}`, wide))]);
    },
  },
];

if (values.consume !== undefined) {
  const { text, role } = JSON.parse(values.consume);
  const delay = monitorEventLoopDelay({ resolution: 10 });
  const began = performance.now();
  let reading = false;
  let stallCpuMs = 0;
  let cpu = process.threadCpuUsage();
  const turns = setInterval(() => {
    const { user, system } = process.threadCpuUsage(cpu);
    cpu = process.threadCpuUsage();
    stallCpuMs = reading ? Math.max(stallCpuMs, (user + system) / 1000) : 0;
  }, 5);
  const result = await consumeRole(parseConfig(text, '/dev/null/kpipe.yaml', process.env), role, {
    untilDrained: true,
    forMs: null,
    concurrency: 3,
    skipLost: false,
    acceptRecreated: false,
    instanceId: null,
    metrics: null,
    reportEveryMs: 50,
    // Loading and compiling modules is no record's doing.
    onReport: () => reading || ((reading = true), delay.enable()),
    notice: () => undefined,
    signal: new AbortController().signal,
  });
  delay.disable();
  clearInterval(turns);
  process.send({
    seconds: (performance.now() - began) / 1000,
    stallMs: delay.max / 1e6,
    stallCpuMs,
    rssMb: process.resourceUsage().maxRSS / 1024,
    totals: result.totals,
  });
  process.exit(0);
}

const { kafka: config } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const client = await createKafkaJs(config, 'bench-hostile');
const admin = client.admin();
await admin.connect();
const postgres = await startPostgres();

async function fill(topic, { role, codec = 'none', batches }) {
  const { brokers } = await admin.describeCluster();
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const leader = brokers.find(({ nodeId }) => nodeId === topics[0].partitions[0].leader);
  const send = (batch) => rawProduce({ host: leader.host, port: leader.port, topic, partition: 0, batch });
  const hostile = batches();
  const perBatch = Math.ceil(goodCount / (hostile.length + 1));
  for (let batch = 0; batch <= hostile.length; batch += 1) {
    const good = many(Math.min(perBatch, goodCount - batch * perBatch), (index) =>
      record(
        role === 'logs' ? Buffer.from(`good line ${batch}-${index}`) : event(`g${batch}-${index}`, `{"v":${index}}`),
      ),
    );
    await send(encodeProduced(good));
    if (hostile[batch] !== undefined) {
      await send(encodeProduced(hostile[batch], codec));
    }
  }
}

async function run(of, source, round) {
  const topic = `bench-hostile-${process.pid}-${cases.indexOf(of)}-${source}-${round}`;
  const database = topic.replaceAll('-', '_');
  await postgres.client.query(`create database ${database}`);
  await admin.createTopics({
    waitForLeaders: true,
    topics: [topic, `${topic}.dlq`].map((name) => ({ topic: name, numPartitions: 1, replicationFactor: 1 })),
  });
  const text = JSON.stringify({
    pipeline: 'bench',
    kafka: { brokers: config.brokers, source },
    postgres: { primary: postgres.url(database) },
    roles: { [of.role]: { topic, group: topic, deadLetters: `${topic}.dlq` } },
  });
  const pool = await openPool(parseConfig(text, '/dev/null/kpipe.yaml', process.env).postgres, {
    applicationName: 'bench',
  });
  await migrate(pool, { projections: [], logRetentionMs: 30 * 86_400_000, nowMs: Date.now(), planOnly: false });
  await pool.end();
  await fill(topic, of);
  const child = fork(fileURLToPath(import.meta.url), ['--consume', JSON.stringify({ text, role: of.role })]);
  const measured = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => code !== 0 && reject(new Error(`the consumer ended with ${code}`)));
  });
  await admin.deleteTopics({ topics: [topic, `${topic}.dlq`] });
  await postgres.client.query(`drop database ${database} with (force)`);
  const { stored, deadLetters } = measured.totals;
  if (stored !== goodCount + of.stored || deadLetters !== of.dead) {
    throw new Error(
      `${of.name}: ${stored} stored and ${deadLetters} dead, not ${goodCount + of.stored} and ${of.dead}`,
    );
  }
  return measured;
}

function spread(numbers) {
  const sorted = numbers.toSorted((left, right) => left - right);
  const text = (number) => (number < 10 ? number.toFixed(1) : number.toFixed(0));
  return `${text(sorted[sorted.length >> 1])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}

const rounds = Number(values.rounds);
console.log(
  `node ${process.versions.node}, ${cpus().length} cores shared with brokers and PostgreSQL; each case among ${goodCount} good records; median (min–max) of n = ${rounds}`,
);
console.log(
  `${'case'.padEnd(22)}${'source'.padEnd(14)}${'longest stall, ms'.padEnd(22)}${'of CPU, ms'.padEnd(20)}${'peak MB'.padEnd(20)}seconds`,
);
try {
  for (const of of cases.filter(({ name }) => values.cases === undefined || name.includes(values.cases))) {
    for (const source of values.sources.split(',')) {
      const found = [];
      for (let round = 0; round < rounds; round += 1) {
        found.push(await run(of, source, round));
      }
      const column = (key) => spread(found.map((each) => each[key]));
      console.log(
        `${of.name.padEnd(22)}${source.padEnd(14)}${column('stallMs').padEnd(22)}${column('stallCpuMs').padEnd(20)}${column('rssMb').padEnd(20)}${column('seconds')}`,
      );
    }
  }
} finally {
  await postgres.stop();
  await admin.disconnect();
}
