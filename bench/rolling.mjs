// How long partitions stand still while a group changes: `kpipe consume events` in several processes, records coming all
// the time, and for each partition the longest pause between two stored positions.
//
//   rolling   every member is restarted once, one after the other
//   static    the same with kafka.group.instanceId: the partitions wait for their member
//   slow      one member takes 6 s for a batch while another one joins and leaves
//   storm     a member joins and another one leaves every 5 s
//
//   kpipe sandbox up && npm run build && node bench/rolling.mjs [--scenarios rolling,static] [--sources classic,consumer]
//     [--members 3] [--partitions 12] [--rate 2000] [--settle 6] [--storm 120]
//
// A pause belongs to a partition that *stayed* when the same process stored before and after it, to one that *moved* when
// another member did, and to one whose static member *restarted* in between. A trigger on kpipe.consumer_offset tells which.
// Brokers are the sandbox's (--config), PostgreSQL is the bench's own. `undisturbed` is the
// longest pause before the group was changed: what the machine alone brings. At the end every record must be in the table once.
import { spawn } from 'node:child_process';
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
    scenarios: { type: 'string', default: 'rolling,static,slow,storm' },
    sources: { type: 'string', default: 'classic,consumer' },
    members: { type: 'string', default: '3' },
    partitions: { type: 'string', default: '12' },
    rate: { type: 'string', default: '2000' },
    settle: { type: 'string', default: '6' },
    storm: { type: 'string', default: '120' },
  },
});
const memberCount = Number(values.members);
const partitions = Number(values.partitions);
const rate = Number(values.rate);
const settleMs = Number(values.settle) * 1000;
const stormMs = Number(values.storm) * 1000;
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const { kafka: config } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const sources = {
  classic: { group: { protocol: 'classic' } },
  consumer: { group: { protocol: 'consumer' } },
};
const watch = `
  create table public.stored (at timestamptz not null, partition int not null, owner text not null, next_offset bigint not null);
  create table public.member (pid text primary key, name text not null);
  create table public.slow (pid text not null);
  create function public.watch() returns trigger language plpgsql as $$
  begin
    insert into public.stored values (clock_timestamp(), new.partition, substring(current_setting('application_name') from '\\d+$'), new.next_offset);
    return null;
  end $$;
  create constraint trigger watch after update on kpipe.consumer_offset deferrable initially deferred for each row
    when (old.next_offset <> new.next_offset) execute function public.watch();
  create function public.slow_down() returns trigger language plpgsql as $$
  begin
    if exists (select from public.slow where current_setting('application_name') like '%:' || pid) then
      perform pg_sleep(6);
    end if;
    return null;
  end $$;
  create trigger slow_down after insert on kpipe.events for each statement execute function public.slow_down();`;

/** One scenario with one source: its topic, group and database. */
class Trial {
  static number = 0;

  constructor(server, client, admin, sourceName, isStatic) {
    this.nameOf = (index) => (isStatic ? `member-${index}` : null);
    this.name = `bench_rolling_${process.pid}_${(Trial.number += 1)}`;
    this.server = server;
    this.admin = admin;
    // One a trial: kafkajs asks for every topic that it has sent to, also when that is gone.
    this.producer = client.producer({ retry: { retries: 10 } });
    this.source = sources[sourceName];
    this.running = new Map();
    this.sent = 0;
    this.problems = [];
  }

  async prepare() {
    await this.producer.connect();
    const topics = [
      { topic: this.name, numPartitions: partitions, replicationFactor: 1 },
      { topic: `${this.name}.dlq`, numPartitions: 1, replicationFactor: 1 },
    ];
    await this.admin.createTopics({ waitForLeaders: true, topics });
    await this.server.client.query(`create database ${this.name}`);
    const { code, errors } = await this.ended(this.spawn(['migrate', '--config', this.file(null)]));
    if (code !== 0) {
      throw new Error(`kpipe migrate: ${errors}`);
    }
    this.database = new pg.Client(this.server.url(this.name));
    await this.database.connect();
    await this.database.query(watch);
  }

  /** A kpipe.yaml; of a static member when it has a name. */
  file(instanceId) {
    const file = join(directory, `${this.name}-${instanceId ?? 'all'}.yaml`);
    const role = { topic: this.name, group: this.name, deadLetters: `${this.name}.dlq` };
    const group = instanceId === null ? this.source.group : { ...this.source.group, instanceId };
    const document = {
      pipeline: 'bench',
      kafka: { brokers: config.brokers, ...this.source, ...(group === undefined ? {} : { group }) },
      roles: { events: { ...role, batch: { maxWait: '20ms' } } },
      postgres: { primary: this.server.url(this.name) },
    };
    writeFileSync(file, JSON.stringify(document), { mode: 0o600 });
    return file;
  }

  spawn(args) {
    return spawn(process.execPath, [kpipe, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  ended(child) {
    let errors = '';
    child.stderr.on('data', (text) => (errors += text));
    child.stdout.resume();
    return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, errors })));
  }

  async start(instanceId = null) {
    const child = this.spawn(['consume', 'events', '--report-every', '1h', '--config', this.file(instanceId)]);
    const end = this.ended(child);
    this.running.set(child.pid, { child, end });
    void end.then(({ code, signal, errors }) => {
      this.running.delete(child.pid);
      if (code !== 0) {
        this.problems.push(`a member ended with ${code ?? signal}: ${errors.slice(-300)}`);
      }
    });
    await this.database.query('insert into public.member values ($1, $2)', [child.pid, instanceId ?? child.pid]);
    return child.pid;
  }

  async stop(pid) {
    const { child, end } = this.running.get(pid);
    child.kill('SIGTERM');
    await end;
  }

  /** Waits until all these members, and all partitions, have stored something within a second. */
  async sharedBy(pids) {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const { rows } = await this.database.query(
        `select count(distinct partition)::int as partitions, array_agg(distinct owner) as owners
           from public.stored where at > clock_timestamp() - interval '1 s'`,
      );
      const owners = rows[0].owners ?? [];
      if (rows[0].partitions === partitions && pids.every((pid) => owners.includes(String(pid)))) {
        return;
      }
      if (performance.now() > deadline) {
        this.problems.push(`after 60 s not shared by ${pids.length} members`);
        return;
      }
      await sleep(100);
    }
  }

  /** Waits until the member has stored something. */
  async storedBy(pid) {
    const deadline = performance.now() + 60_000;
    const sql = 'select exists (select from public.stored where owner = $1) as stored';
    while (!(await this.database.query(sql, [String(pid)])).rows[0].stored) {
      if (performance.now() > deadline) {
        this.problems.push('after 60 s the member that joined has stored nothing');
        return;
      }
      await sleep(100);
    }
  }

  /** Records at the rate, until it is told to stop. */
  produce() {
    const control = { on: true };
    const everyMs = 20;
    const done = (async () => {
      const began = performance.now();
      while (control.on) {
        const due = Math.floor(((performance.now() - began) * rate) / 1000) - this.sent;
        const messages = Array.from({ length: due }, (_, index) => {
          const number = this.sent + index;
          return {
            partition: number % partitions,
            value: `{"specversion":"1.0","id":"${number}","source":"/bench","type":"bench.made","data":{"n":${number}}}`,
          };
        });
        if (due > 0) {
          await this.producer.send({ topic: this.name, acks: -1, messages });
          this.sent += due;
        }
        await sleep(everyMs);
      }
    })();
    this.stopProducing = async () => {
      control.on = false;
      await done;
    };
    // What it fails with is told where it is awaited.
    done.catch(() => undefined);
  }

  async now() {
    return (await this.database.query('select clock_timestamp() as at')).rows[0].at;
  }

  /** Lets it run undisturbed, and answers the longest pause of that: what the machine alone brings. */
  async undisturbed() {
    const from = await this.now();
    await sleep(settleMs);
    return (await this.pauses(from)).stayed;
  }

  /** The longest pauses that end after `from`, in ms; those that `except` caused are not counted. */
  async pauses(from, except = null) {
    const { rows } = await this.database.query(
      `with steps as (
         select partition, name, owner, at,
                lag(at) over of_partition as before,
                lag(name) over of_partition as former_name,
                lag(owner) over of_partition as former
           from public.stored join public.member on pid = owner
         window of_partition as (partition by partition order by next_offset))
       select case when former = owner then 'stayed' when former_name = name then 'restarted' else 'moved' end as kind,
              max(extract(epoch from at - before) * 1000)::float8 as ms, count(*)::int as count
         from steps
        where before is not null and at > $1 and former is distinct from $2
        group by 1`,
      [from, except === null ? null : String(except)],
    );
    const of = (kind) => rows.find((row) => row.kind === kind);
    const ms = (kind) => of(kind)?.ms ?? null;
    return { stayed: ms('stayed'), moved: ms('moved'), restarted: ms('restarted'), moves: of('moved')?.count ?? 0 };
  }

  /** Waits until everything is stored, and compares. */
  async finish() {
    const deadline = performance.now() + 90_000;
    let stored = 0;
    while (stored < this.sent && performance.now() < deadline) {
      await sleep(200);
      const { rows } = await this.database.query('select sum(next_offset)::int as n from kpipe.consumer_offset');
      stored = rows[0].n ?? 0;
    }
    const { rows } = await this.database.query(
      'select count(*)::int as rows, count(distinct id)::int as ids from kpipe.events',
    );
    await Promise.all([...this.running.keys()].map((pid) => this.stop(pid)));
    return { duplicates: rows[0].rows - rows[0].ids, missing: this.sent - rows[0].ids };
  }

  async close() {
    await this.stopProducing?.().catch((error) => this.problems.push(`producing failed: ${error.message}`));
    await Promise.all([...this.running.keys()].map((pid) => this.stop(pid)));
    await this.database?.end();
    await this.producer.disconnect();
    await this.admin.deleteTopics({ topics: [this.name, `${this.name}.dlq`] }).catch(() => undefined);
    await this.admin.deleteGroups([this.name]).catch(() => undefined);
  }
}

/** Each gets members that share the partitions, and changes the group; `pids` are the members' in the end. */
const scenarios = {
  rolling: (trial, pids) => restartAll(trial, pids),
  static: (trial, pids) => restartAll(trial, pids),
  async slow(trial) {
    const joiner = await trial.start();
    await trial.storedBy(joiner);
    await sleep(settleMs);
    await trial.stop(joiner);
    await sleep(settleMs);
  },
  async storm(trial, pids) {
    const end = performance.now() + stormMs;
    while (performance.now() < end) {
      pids.push(await trial.start());
      await sleep(5000);
      await trial.stop(pids.shift());
    }
  },
};

async function restartAll(trial, pids) {
  for (const [index, pid] of [...pids].entries()) {
    await trial.stop(pid);
    pids[index] = await trial.start(trial.nameOf(index));
    await trial.sharedBy(pids);
    await sleep(settleMs);
  }
}

async function run(trial, scenario) {
  const pids = [];
  for (let index = 0; index < memberCount; index += 1) {
    pids.push(await trial.start(trial.nameOf(index)));
  }
  await trial.sharedBy(pids);
  const undisturbed = await trial.undisturbed();
  const slow = scenario === 'slow' ? pids[0] : null;
  if (slow !== null) {
    await trial.database.query('insert into public.slow values ($1)', [String(slow)]);
    await sleep(settleMs);
  }
  const from = await trial.now();
  await scenarios[scenario](trial, pids);
  const found = await trial.pauses(from, slow);
  await trial.database.query('delete from public.slow');
  return { undisturbed, ...found };
}

const server = await startPostgres();
const client = await createKafkaJs(config, 'bench-rolling');
const admin = client.admin();
await admin.connect();
console.log(
  `node ${process.versions.node}, ${cpus().length} cores shared with brokers, PostgreSQL and the producer; ${memberCount} members, ${partitions} partitions, ${rate} records/s`,
);
const row = (cells) =>
  console.log(cells.map((cell, at) => String(cell).padEnd([10, 10, 21, 16, 16, 19, 7, 12, 8][at])).join(''));
row([
  'scenario',
  'source',
  'undisturbed, max ms',
  'stayed, max ms',
  'moved, max ms',
  'restarted, max ms',
  'moves',
  'duplicates',
  'missing',
]);
const text = (ms) => (ms === null ? '–' : Math.round(ms));
try {
  for (const scenario of values.scenarios.split(',')) {
    for (const source of values.sources.split(',')) {
      if (scenario === 'static' && sources[source].group === undefined) {
        row([scenario, source, 'it has no static membership']);
        continue;
      }
      const trial = new Trial(server, client, admin, source, scenario === 'static');
      try {
        await trial.prepare();
        trial.produce();
        const { undisturbed, stayed, moved, restarted, moves } = await run(trial, scenario);
        await trial.stopProducing();
        const { duplicates, missing } = await trial.finish();
        row([
          scenario,
          source,
          text(undisturbed),
          text(stayed),
          text(moved),
          text(restarted),
          moves,
          duplicates,
          missing,
        ]);
      } finally {
        await trial.close();
      }
      for (const problem of trial.problems) {
        console.log(`  ${problem}`);
      }
    }
  }
  console.log('to be: stayed ≤ 300, moved ≤ 2000, static: 0 moves to another member, no duplicates, nothing missing');
} finally {
  await admin.disconnect();
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
}
