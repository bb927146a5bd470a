// One look at the lag of many groups: kpipe's, and `kafka-consumer-groups --describe --all-groups`, on the same cluster.
//
//   kpipe sandbox up && npm run build && node bench/lag.mjs [--groups 50] [--partitions 100] [--rounds 3] [--config kpipe.yaml]
//
// Makes a topic of its own with a record in each partition, and groups that have committed before it, and deletes them. Both are timed as processes, from
// start to end, kpipe also for a look on connections that stand. `--all-groups` takes every other group of the cluster too, so the
// ratio is fair on a cluster that has no others.
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
const groups = Array.from({ length: Number(values.groups) }, (_, index) => `bench-lag-${mark}-${index}`);

const median = (times) => times.toSorted((left, right) => left - right)[Math.floor(times.length / 2)];

async function timed(work) {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function run(command, args) {
  const { status, stderr } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`${command} ended with ${status}: ${stderr}`);
  }
}

async function rounds(work) {
  const times = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    times.push(await timed(work));
  }
  return median(times);
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
        return rounds(() => watch.look());
      });
      const named = groups.flatMap((group) => ['--group', group]);
      const command = await rounds(() =>
        run(process.execPath, [kpipe, 'lag', '--config', values.config, '--for', '0s', '--json', ...named]),
      );
      const tool = await rounds(consumerGroups);
      const [load] = loadavg();
      console.log(
        `${groups.length * partitions} group-partitions (${groups.length} groups), ${values.rounds} rounds, median; ${cpus().length} cores, load ${load.toFixed(0)}`,
      );
      console.log(`kpipe, a look              ${look.toFixed(0)} ms`);
      console.log(`kpipe lag, the process     ${command.toFixed(0)} ms`);
      console.log(`kafka-consumer-groups      ${tool.toFixed(0)} ms`);
      console.log(`look / tool ${(look / tool).toFixed(3)}, process / tool ${(command / tool).toFixed(3)}`);
    } finally {
      for (const group of groups) {
        await admin.deleteGroup(group).catch((error) => console.error(error.message));
      }
      await admin.deleteTopic(topic);
    }
  },
  { deadlineMs: 60_000 },
);
