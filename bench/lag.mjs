// One look at the lag of many groups: kpipe's, and `kafka-consumer-groups --describe --all-groups`, on the same cluster.
//
//   kpipe sandbox up && npm run build && node bench/lag.mjs [--groups 50] [--partitions 100] [--rounds 3] [--config kpipe.yaml]
//
// Makes a topic of its own with a record in each partition, and groups that have committed before it, and deletes them. Both are timed as processes, from
// start to end, in turn, so that what else the machine does hits both alike; kpipe also for a look on connections that stand. The processes' CPU is told,
// too: it hardly depends on that load. `--all-groups` takes every other group of the cluster as well, so the ratio is fair on a cluster that has
// no others.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { withKafkaAdmin } from '../dist/lib/kafka/admin.js';
import { openPublisher } from '../dist/lib/kafka/publisher.js';
import { LagWatch, withLagSources } from '../dist/lib/offsets/watch.js';
import { findJava, findKafka } from '../dist/lib/sandbox/tools.js';
import { childCpuMs } from './startup.mjs';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    groups: { type: 'string', default: '50' },
    partitions: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '3' },
  },
});
const config = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const mark = randomBytes(4).toString('hex');
const topic = `bench.lag.${mark}`;
const partitions = Number(values.partitions);
const rounds = Number(values.rounds);
const groups = Array.from({ length: Number(values.groups) }, (_, index) => `bench-lag-${mark}-${index}`);

const median = (times) => times.toSorted((left, right) => left - right)[Math.floor(times.length / 2)];

function run(command, args) {
  const { status, stderr } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`${command} ended with ${status}: ${stderr}`);
  }
}

/** What each of the processes takes, run in turn: the median of the wall time and the mean of the CPU time, in ms. */
function inTurn(...works) {
  const taken = works.map(() => ({ wall: [], cpu: 0 }));
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, work] of works.entries()) {
      const [cpuBefore, startedAt] = [childCpuMs(), performance.now()];
      work();
      taken[index].wall.push(performance.now() - startedAt);
      taken[index].cpu += childCpuMs() - cpuBefore;
    }
  }
  return taken.map(({ wall, cpu }) => ({ wallMs: median(wall), cpuMs: cpu / rounds }));
}

function consumerGroups() {
  const { java } = findJava(process.env);
  const { classPath } = findKafka(process.env);
  const tool = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
  const brokers = config.kafka.brokers.join(',');
  const jvm = ['-Xmx400m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dlog4j2.level=ERROR'];
  run(java, [...jvm, '-cp', classPath, tool, '--bootstrap-server', brokers, '--describe', '--all-groups']);
}

await withKafkaAdmin(
  config.kafka,
  async (admin) => {
    await admin.createTopic({ name: topic, partitions, replicationFactor: 1, config: {} });
    try {
      const publisher = await openPublisher(config.kafka);
      const records = Array.from({ length: partitions }, (_, partition) => ({
        key: null,
        value: Buffer.from('x'),
        partition,
      }));
      await publisher.publish(topic, records);
      await publisher.close();
      const commits = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 0n }));
      for (const group of groups) {
        await admin.commitOffsets(group, commits);
      }
      const targets = groups.map((group) => ({ role: null, group, topic: null, positionsIn: 'group' }));
      const look = await withLagSources(config, async (sources) => {
        const watch = new LagWatch(targets, sources);
        const first = await watch.look();
        const seen = first.roles.reduce((sum, { partitions: all }) => sum + all.length, 0);
        if (seen !== groups.length * partitions) {
          throw new Error(`kpipe saw ${seen} group-partitions of ${groups.length * partitions}`);
        }
        const looks = [];
        for (let round = 0; round < rounds; round += 1) {
          looks.push((await watch.look()).cost);
        }
        return { first: first.cost, ms: median(looks.map(({ ms }) => ms)), requests: looks.at(-1).requests };
      });
      const named = groups.flatMap((group) => ['--group', group]);
      const args = [kpipe, 'lag', '--config', values.config, '--for', '0s', '--json', ...named];
      const [command, tool] = inTurn(() => run(process.execPath, args), consumerGroups);
      const [load] = loadavg();
      const line = (name, { wallMs, cpuMs }) =>
        console.log(`${name.padEnd(26)} ${wallMs.toFixed(0).padStart(6)} ms  CPU ${cpuMs.toFixed(0).padStart(5)} ms`);
      console.log(
        `${groups.length * partitions} group-partitions (${groups.length} groups), ${rounds} rounds in turn, median; ${cpus().length} cores, load ${load.toFixed(0)}`,
      );
      console.log(
        `the first look: ${look.first.requests} requests, ${look.first.ms} ms; one more: ${look.requests} requests, ${look.ms} ms`,
      );
      line('kpipe lag, the process', command);
      line('kafka-consumer-groups', tool);
      const ratio = (of) => (command[of] / tool[of]).toFixed(3);
      console.log(`process / tool: ${ratio('wallMs')} of the time, ${ratio('cpuMs')} of the CPU`);
    } finally {
      for (const group of groups) {
        await admin.deleteGroup(group).catch((error) => console.error(error.message));
      }
      await admin.deleteTopic(topic);
    }
  },
  { deadlineMs: 60_000 },
);
