// What `kpipe consume events` takes, beside the limit: psql's \copy of the same rows into a staging table and
// INSERT … ON CONFLICT, 20,000 rows a transaction, no Kafka.
//
//   kpipe sandbox up && node bench/consume.mjs [--records 300000] [--rounds 3]
//
// Events of 360 bytes on 6 partitions, projections off, one process each, interleaved. Reads the sandbox's kpipe.yaml
// (--config); works in a topic and databases of its own and removes them. Prints medians, and the spread.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import kafkajs from 'kafkajs';
import pg from 'pg';

import { loadConfig } from '../dist/lib/config/load.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    records: { type: 'string', default: '300000' },
    rounds: { type: 'string', default: '3' },
  },
});
const records = Number(values.records);
const rounds = Number(values.rounds);
const config = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const name = `bench_${process.pid}`;
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const primary = new URL(config.postgres.primary.reveal());
const rowsPerTransaction = 20_000;

/** An event of 360 bytes with a random-looking id, the same for the same number. */
function event(number) {
  const id = createHash('md5').update(`${name}-${number}`).digest('hex');
  const head = `{"specversion":"1.0","id":"${id}","source":"/shop/checkout","type":"order.updated","time":"2026-11-01T12:00:00.123Z","data":`;
  const data = `{"orderId":"ord-${number % 50_000}","status":"paid","amountCents":${number},"note":"`;
  return { id, data: `${data}${'n'.repeat(360 - head.length - data.length - 3)}"}`, head };
}

async function produce() {
  const client = new kafkajs.Kafka({ brokers: [...config.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      { topic: name, numPartitions: 6, replicationFactor: 1 },
      { topic: `${name}.dlq`, numPartitions: 1, replicationFactor: 1 },
    ],
  });
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  for (let at = 0; at < records; at += 5000) {
    const messages = Array.from({ length: Math.min(5000, records - at) }, (_, index) => {
      const { head, data } = event(at + index);
      return { key: `ord-${(at + index) % 50_000}`, value: `${head}${data}}` };
    });
    await producer.send({ topic: name, acks: -1, messages });
  }
  await producer.disconnect();
  return admin;
}

/** The same rows as CSV files of one transaction each, and the psql script that loads them. */
function writeLimit() {
  const script = ['\\set ON_ERROR_STOP on'];
  for (let at = 0; at < records; at += rowsPerTransaction) {
    const file = join(directory, `${at}.csv`);
    const lines = Array.from({ length: Math.min(rowsPerTransaction, records - at) }, (_, index) => {
      const { id, data } = event(at + index);
      return `2026-11-01T12:00:00.123Z,2026-11-01T12:00:00.123Z,${at + index},0,/shop/checkout,${id},order.updated,t,"${data.replaceAll('"', '""')}"`;
    });
    writeFileSync(file, `${lines.join('\n')}\n`);
    const columns = 'time, kafka_timestamp, kafka_offset, partition, source, id, type, topic, data';
    script.push(
      'begin;',
      `create temporary table staging on commit drop as select ${columns} from kpipe.events with no data;`,
      `\\copy staging from '${file}' csv`,
      `insert into kpipe.events (${columns}) select ${columns} from staging on conflict do nothing;`,
      'commit;',
    );
  }
  writeFileSync(join(directory, 'limit.sql'), `${script.join('\n')}\n`);
}

/** A kpipe.yaml for the bench's own topic, group and database. */
function writeConfig(database) {
  const url = new URL(primary);
  url.pathname = `/${database}`;
  const file = join(directory, `${database}.yaml`);
  const role = { topic: name, group: database, deadLetters: `${name}.dlq` };
  const document = {
    pipeline: 'bench',
    kafka: { brokers: config.kafka.brokers },
    roles: { events: role },
    postgres: { primary: url.href },
  };
  writeFileSync(file, JSON.stringify(document), { mode: 0o600 });
  return { file, url: url.href };
}

async function timed(command, args) {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) {
    throw new Error(`${command} ended with ${code}: ${output.slice(-500)}`);
  }
  return { seconds: (performance.now() - began) / 1000, output };
}

async function round(number, server) {
  const results = {};
  for (const kind of number % 2 === 0 ? ['limit', 'kpipe'] : ['kpipe', 'limit']) {
    const database = `${name}_${kind}_${number}`;
    await server.query(`create database ${database}`);
    const { file, url } = writeConfig(database);
    spawnSync(process.execPath, [kpipe, 'migrate', '--config', file], { stdio: 'ignore' });
    if (kind === 'limit') {
      const { seconds } = await timed('psql', ['--no-psqlrc', '--quiet', '--file', join(directory, 'limit.sql'), url]);
      results.limit = { perSec: records / seconds };
    } else {
      const { output } = await timed(process.execPath, [
        kpipe,
        'consume',
        'events',
        '--until-drained',
        '--json',
        '--report-every',
        '1h',
        '--config',
        file,
      ]);
      const { totals, recordsPerSec, maxRssBytes } = JSON.parse(output);
      if (totals.stored !== records) {
        throw new Error(`stored ${totals.stored} of ${records}`);
      }
      results.kpipe = { perSec: recordsPerSec, rssMb: maxRssBytes / 1e6 };
    }
    await server.query(`drop database ${database}`);
  }
  return results;
}

function spread(numbers, digits = 0) {
  const sorted = numbers.toSorted((left, right) => left - right);
  const [low, middle, high] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].map((number) =>
    number.toFixed(digits),
  );
  return `${middle} (${low}–${high})`;
}

const server = new pg.Client(primary.href);
await server.connect();
let admin;
try {
  console.error(`producing ${records} events of 360 bytes …`);
  admin = await produce();
  writeLimit();
  const all = [];
  for (let number = 0; number < rounds; number += 1) {
    all.push(await round(number, server));
    console.error(`round ${number + 1} of ${rounds} done`);
  }
  console.log(
    `node ${process.versions.node}, ${cpus().length} cores shared by client, broker and PostgreSQL; median (min–max) of n = ${rounds}`,
  );
  console.log(`limit: \\copy → staging → ON CONFLICT   ${spread(all.map(({ limit }) => limit.perSec))} rows/s`);
  console.log(
    `kpipe consume events                    ${spread(all.map(({ kpipe: { perSec } }) => perSec))} records/s, peak memory ${spread(all.map(({ kpipe: { rssMb } }) => rssMb))} MB`,
  );
  console.log(
    `of the limit, round by round            ${spread(
      all.map(({ kpipe: ours, limit }) => ours.perSec / limit.perSec),
      2,
    )}`,
  );
} finally {
  await admin?.deleteTopics({ topics: [name, `${name}.dlq`] }).catch(() => undefined);
  await admin?.disconnect();
  await server.end();
  rmSync(directory, { recursive: true });
}
