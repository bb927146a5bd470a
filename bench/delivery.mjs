// The same events into PostgreSQL by different hands, side by side in one run:
//
//   limit    psql's \copy into a staging table and INSERT … ON CONFLICT, 20,000 rows a transaction; no Kafka
//   copy     psql's \copy straight into the keyed table; no Kafka
//   kpipe    kpipe consume events --until-drained, projections off
//   project  the same with a projection of every event into a table of 50,000 orders
//   python   librdkafka and psycopg, written by hand: COPY, offsets in the transaction (delivery/consumer.py)
//   connect  Kafka Connect 4.3 with Debezium's JDBC sink, upsert
//   logs     kpipe consume logs, and loglimit: \copy of the same lines into kpipe.logs, with its GIN indexes
//
//   kpipe sandbox up && node bench/delivery.mjs [--records 1000000] [--rounds 3] [--only limit,kpipe] [--source cooperative]
//
// Records of 360 bytes on 6 partitions. The brokers are the sandbox's (--config names its kpipe.yaml), PostgreSQL is the
// bench's own. CPU is told apart: the client, PostgreSQL, the brokers. Prints medians of the rounds, and their spread.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { sandboxDirectory, sandboxPaths } from '../dist/lib/sandbox/directory.js';
import { connectCommand } from './delivery/connect.mjs';
import { cpuSeconds, measured } from './delivery/cpu.mjs';
import { startPostgres } from './delivery/postgres.mjs';
import { createTopics, eventKind, logKind, writeLimit } from './delivery/records.mjs';
import { connectJars, python } from './delivery/tools.mjs';

const all = ['limit', 'copy', 'kpipe', 'project', 'python', 'connect', 'loglimit', 'logs'];
const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    records: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: all.join(',') },
    source: { type: 'string' },
  },
});
const records = Number(values.records);
const wanted = all.filter((name) => values.only.split(',').includes(name));
const config = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const brokers = [...config.kafka.brokers];
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const consumer = fileURLToPath(new URL('delivery/consumer.py', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const topic = `bench_${process.pid}`;
const kinds = { events: eventKind(topic, records), logs: logKind(`${topic}_logs`, records) };

/** The sandbox's brokers: their CPU counts too. */
const pidFiles = sandboxPaths(sandboxDirectory(process.env)).run;
const pids = readdirSync(pidFiles)
  .filter((name) => name.startsWith('kafka-'))
  .map((name) => Number.parseInt(readFileSync(join(pidFiles, name), 'utf8'), 10));

/** A kpipe.yaml for the bench's own topics, group and database. */
function writeConfig(database, url, projected) {
  const role = (kind) => ({ topic: kinds[kind].topic, group: `${database}-${kind}`, deadLetters: `${topic}.dlq` });
  const projection = {
    match: { type: 'order.*' },
    table: 'public.orders',
    key: { order_id: { from: 'data.orderId', type: 'text' } },
    columns: {
      status: { from: 'data.status', type: 'text' },
      amount_cents: { from: 'data.amountCents', type: 'bigint' },
      updated_at: { from: 'time', type: 'timestamptz' },
    },
  };
  const file = join(directory, `${database}.yaml`);
  const document = {
    pipeline: 'bench',
    kafka: { brokers, ...(values.source === undefined ? {} : { source: values.source }) },
    roles: { events: { ...role('events'), ...(projected ? { projections: [projection] } : {}) }, logs: role('logs') },
    postgres: { primary: url },
  };
  writeFileSync(file, JSON.stringify(document), { mode: 0o600 });
  return file;
}

async function consume(role, file) {
  const args = [kpipe, 'consume', role, '--until-drained', '--json', '--report-every', '1h', '--config', file];
  const run = await measured(process.execPath, args);
  const { totals } = JSON.parse(run.output);
  if (totals.stored !== records) {
    throw new Error(`stored ${totals.stored} of ${records}`);
  }
  return run;
}

function psql(script, url) {
  return measured('psql', ['--no-psqlrc', '--quiet', '--file', script, url]);
}

/** Connect runs until its table is full; its rate counts from its first row, its CPU from its start. */
async function connect(url, pg, number) {
  const began = performance.now();
  let firstRow;
  const client = new pg.constructor(url);
  await client.connect();
  const one = async (sql) => Number((await client.query(sql)).rows[0]?.value ?? 0);
  const full = async () => {
    for (;;) {
      // Statistics cost next to nothing to ask for, but come late: by a second from a busy connection, by 10 s from an idle one.
      const told = await one("select n_tup_ins as value from pg_stat_user_tables where relname = 'connect_events'");
      const bytes = await one("select pg_relation_size(to_regclass('connect_events')) as value");
      firstRow ??= bytes > 0 ? performance.now() : undefined;
      if (told >= records * 0.9 && (await one('select count(*) as value from connect_events')) >= records) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, told >= records * 0.9 ? 400 : 100));
    }
  };
  // A group of its own each round: the one before has read everything.
  const home = join(directory, `connect_${number}`);
  const args = connectCommand({
    directory: home,
    jars: connectJars(),
    brokers,
    topic,
    url,
    name: `bench_${number}_${topic}`,
  });
  let filled;
  const run = await measured('java', args, {
    until: async () => {
      await full();
      filled = performance.now();
    },
    acceptedCodes: [0, 143],
  });
  const { rows } = await client.query('select count(*)::int as rows from connect_events');
  await client.end();
  if (rows[0].rows !== records) {
    throw new Error(`connect stored ${rows[0].rows} of ${records}`);
  }
  return { ...run, seconds: (filled - (firstRow ?? began)) / 1000 };
}

async function contend(name, number, postgres) {
  const database = `${name}_${number}`;
  await postgres.client.query(`create database ${database}`);
  const url = postgres.url(database);
  const file = writeConfig(database, url, name === 'project');
  await measured(process.execPath, [kpipe, 'migrate', '--config', file]);
  await postgres.client.query('checkpoint');
  const before = { postgres: cpuSeconds(postgres.pid), brokers: pids.map((pid) => cpuSeconds(pid)) };
  const run = await {
    limit: () => psql(kinds.events.limit, url),
    copy: () => psql(kinds.events.copy, url),
    kpipe: () => consume('events', file),
    project: () => consume('events', file),
    python: () => measured(python(), [consumer, brokers.join(','), topic, url]),
    connect: () => connect(url, postgres.client, number),
    loglimit: () => psql(kinds.logs.limit, url),
    logs: () => consume('logs', file),
  }[name]();
  const perMillion = 1e6 / records;
  const postgresCpu = (cpuSeconds(postgres.pid) - before.postgres) * perMillion;
  const brokerCpu = pids.reduce((sum, pid, at) => sum + cpuSeconds(pid) - before.brokers[at], 0) * perMillion;
  await postgres.client.query(`drop database ${database} with (force)`);
  const client = ['limit', 'copy', 'loglimit'].includes(name) ? 0 : run.cpu * perMillion;
  return {
    perSec: records / run.seconds,
    client,
    postgres: postgresCpu,
    brokers: client === 0 ? 0 : brokerCpu,
    rssMb: run.rssMb,
  };
}

function median(numbers) {
  const sorted = numbers.toSorted((left, right) => left - right);
  return { low: sorted[0], middle: sorted[Math.floor(sorted.length / 2)], high: sorted.at(-1) };
}

function cell(numbers, digits) {
  const { low, middle, high } = median(numbers);
  return `${middle.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
}

function print(results) {
  const lines = [
    [
      '',
      'records/s',
      'of the limit',
      'client CPU s',
      'PostgreSQL CPU s',
      'broker CPU s',
      'total, of the limit',
      'peak MB',
    ],
  ];
  for (const name of wanted) {
    const runs = results[name];
    const limits = results[['logs', 'loglimit'].includes(name) ? 'loglimit' : 'limit'];
    const share = (of) =>
      limits === undefined
        ? '?'
        : cell(
            runs.map((run, at) => of(run, limits[at])),
            2,
          );
    lines.push([
      name,
      cell(
        runs.map(({ perSec }) => perSec),
        0,
      ),
      share((run, limit) => run.perSec / limit.perSec),
      cell(
        runs.map(({ client }) => client),
        1,
      ),
      cell(
        runs.map((run) => run.postgres),
        1,
      ),
      cell(
        runs.map((run) => run.brokers),
        1,
      ),
      share((run, limit) => (run.client + run.postgres + run.brokers) / limit.postgres),
      cell(
        runs.map(({ rssMb }) => rssMb),
        0,
      ),
    ]);
  }
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  console.log(
    `node ${process.versions.node}, ${cpus().length} cores shared by client, brokers and PostgreSQL; ${records} records of 360 bytes; CPU per million; median (min–max) of n = ${values.rounds}`,
  );
  for (const line of lines) {
    console.log(
      line
        .map((text, column) => text.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    );
  }
}

const postgres = await startPostgres();
let removeTopics;
try {
  console.error(`producing ${records} records …`);
  const needed = Object.entries(kinds).filter(([name]) =>
    wanted.some((contender) => contender.startsWith('log') === (name === 'logs')),
  );
  removeTopics = await createTopics(
    brokers,
    needed.map(([, kind]) => kind),
    `${topic}.dlq`,
  );
  for (const [, kind] of needed) {
    Object.assign(kind, writeLimit(kind, directory));
  }
  const results = Object.fromEntries(wanted.map((name) => [name, []]));
  for (let number = 0; number < Number(values.rounds); number += 1) {
    for (const name of number % 2 === 0 ? wanted : wanted.toReversed()) {
      results[name].push(await contend(name, number, postgres));
      console.error(`round ${number + 1}: ${name} ${Math.round(results[name].at(-1).perSec)}/s`);
    }
  }
  print(results);
} finally {
  await removeTopics?.();
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
}
