// How old a record is when it is stored: from before its send to after the COMMIT of `kpipe consume events`.
//
//   kpipe sandbox up && npm run build && node bench/latency.mjs [--rate 1000] [--seconds 30] [--max-wait 5ms]
//     [--sources classic,consumer] [--rounds 3]
//
// Records on 6 partitions, acks=all, sent every 5 ms. PostgreSQL, which is the bench's own, notifies when the transaction that
// moved a position has committed; sender and listener are one process, so there is one clock. The first 5 s do not count.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import pg from 'pg';

import { loadConfig } from '../dist/lib/config/load.js';
import { createKafkaJs } from '../dist/lib/kafka/kafkajs.js';
import { startPostgres } from './delivery/postgres.mjs';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '30' },
    'max-wait': { type: 'string', default: '5ms' },
    sources: { type: 'string', default: 'classic,consumer' },
    rounds: { type: 'string', default: '3' },
    replication: { type: 'string', default: '3' },
  },
});
const partitions = 6;
const tickMs = 5;
const warmUpMs = 5000;
const rate = Number(values.rate);
const rounds = Number(values.rounds);
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const { kafka: config } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const sources = {
  classic: { group: { protocol: 'classic' } },
  consumer: { group: { protocol: 'consumer' } },
};
const notify = `
  create function public.tell() returns trigger language plpgsql as $$
  begin
    perform pg_notify('stored', new.partition || ' ' || new.next_offset);
    return null;
  end $$;
  create trigger tell after update on kpipe.consumer_offset for each row
    when (old.next_offset <> new.next_offset) execute function public.tell();`;

function writeConfig(name, source, server) {
  const file = join(directory, `${name}.yaml`);
  const document = {
    pipeline: 'bench',
    kafka: { brokers: config.brokers, ...source },
    roles: {
      events: { topic: name, group: name, deadLetters: `${name}.dlq`, batch: { maxWait: values['max-wait'] } },
    },
    postgres: { primary: server.url(name) },
  };
  writeFileSync(file, JSON.stringify(document), { mode: 0o600 });
  return file;
}

/** The records of each partition that have been acked and not been seen stored, by offset. */
class Journal {
  ages = [];
  #sentAt = Array.from({ length: partitions }, () => []);
  #stored = Array.from({ length: partitions }, () => 0);
  #storedAt = Array.from({ length: partitions }, () => []);
  #from = Infinity;

  countFrom(at) {
    this.#from = at;
  }

  acked(partition, baseOffset, count, sentAt) {
    for (let index = 0; index < count; index += 1) {
      this.#sentAt[partition][baseOffset + index] = sentAt;
      // Its row may have been there before its ack.
      this.#settle(partition, baseOffset + index);
    }
  }

  stored(partition, nextOffset) {
    const at = performance.now();
    for (let offset = this.#stored[partition]; offset < nextOffset; offset += 1) {
      this.#storedAt[partition][offset] = at;
      this.#settle(partition, offset);
    }
    this.#stored[partition] = Math.max(this.#stored[partition], nextOffset);
  }

  #settle(partition, offset) {
    const [sentAt, storedAt] = [this.#sentAt[partition][offset], this.#storedAt[partition][offset]];
    if (sentAt !== undefined && storedAt !== undefined && sentAt >= this.#from) {
      this.ages.push(storedAt - sentAt);
    }
  }

  isStored(sent) {
    return this.#stored.reduce((sum, offset) => sum + offset, 0) === sent;
  }
}

async function measure(server, client, admin, sourceName) {
  const name = `bench_latency_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      {
        topic: name,
        numPartitions: partitions,
        replicationFactor: Math.min(config.brokers.length, Number(values.replication)),
      },
      { topic: `${name}.dlq`, numPartitions: 1, replicationFactor: 1 },
    ],
  });
  await server.client.query(`create database ${name}`);
  const file = writeConfig(name, sources[sourceName], server);
  const migrated = spawnSync(process.execPath, [kpipe, 'migrate', '--config', file], { encoding: 'utf8' });
  if (migrated.status !== 0) {
    throw new Error(migrated.stderr);
  }
  const listener = new pg.Client(server.url(name));
  await listener.connect();
  await listener.query(notify);
  await listener.query('listen stored');
  const journal = new Journal();
  listener.on('notification', ({ payload }) => journal.stored(...payload.split(' ').map(Number)));

  const consumer = spawn(process.execPath, [kpipe, 'consume', 'events', '--report-every', '1h', '--config', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = new Promise((resolve) => consumer.on('close', resolve));
  // One a run: kafkajs asks for every topic that it has sent to, also when that is gone.
  const producer = client.producer({ retry: { retries: 10 } });
  await producer.connect();
  let sent = 0;
  const sends = new Set();
  const send = (count) => {
    const messages = Array.from({ length: count }, (_, index) => ({
      partition: (sent + index) % partitions,
      value: `{"specversion":"1.0","id":"${sent + index}","source":"/bench","type":"bench.made","data":{}}`,
    }));
    sent += count;
    const at = performance.now();
    const answered = producer.send({ topic: name, acks: -1, messages }).then((answers) => {
      for (const { partition, baseOffset } of answers) {
        const inPartition = messages.filter((message) => message.partition === partition).length;
        journal.acked(partition, Number(baseOffset), inPartition, at);
      }
      sends.delete(answered);
    });
    sends.add(answered);
  };
  send(partitions);
  await Promise.all(sends);
  // The group and PostgreSQL's connections are there when the first record of each partition is.
  while (!journal.isStored(sent)) {
    await sleep(20);
  }
  const began = performance.now();
  journal.countFrom(began + warmUpMs);
  const before = sent;
  while (performance.now() - began < warmUpMs + Number(values.seconds) * 1000) {
    const due = Math.floor(((performance.now() - began) * rate) / 1000) - (sent - before);
    if (due > 0) {
      send(due);
    }
    await sleep(tickMs);
  }
  await Promise.all(sends);
  const deadline = performance.now() + 30_000;
  while (!journal.isStored(sent) && performance.now() < deadline) {
    await sleep(20);
  }
  consumer.kill('SIGTERM');
  await ended;
  await Promise.all([listener.end(), producer.disconnect()]);
  await admin.deleteTopics({ topics: [name, `${name}.dlq`] });
  await admin.deleteGroups([name]).catch(() => undefined);
  if (!journal.isStored(sent)) {
    throw new Error(`${sourceName}: not all of ${sent} records were stored`);
  }
  return journal.ages.toSorted((left, right) => left - right);
}

const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
function median(numbers) {
  const sorted = numbers.toSorted((left, right) => left - right);
  return `${sorted[sorted.length >> 1].toFixed(1)} (${sorted[0].toFixed(1)}–${sorted.at(-1).toFixed(1)})`;
}

const server = await startPostgres();
const client = await createKafkaJs(config, 'bench-latency');
const admin = client.admin();
await admin.connect();
console.log(
  `node ${process.versions.node}, ${cpus().length} cores shared with brokers, PostgreSQL and the producer; ${rate} records/s for ${values.seconds} s, batch.maxWait ${values['max-wait']}; ms, median (min–max) of n = ${rounds}`,
);
try {
  const names = values.sources.split(',');
  const runs = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names.map((_, at) => names[(at + round) % names.length])) {
      runs[name].push(await measure(server, client, admin, name));
    }
  }
  const row = (cells) => console.log(cells.map((cell, at) => String(cell).padEnd([10, 22, 24, 24][at])).join(''));
  row(['source', 'p50', 'p99', 'max']);
  for (const [name, all] of Object.entries(runs)) {
    row([name, ...[0.5, 0.99, 1].map((share) => median(all.map((ages) => percentile(ages, share))))]);
  }
  console.log('to be: p50 ≤ 25, p99 ≤ 150');
} finally {
  await admin.disconnect();
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
}
