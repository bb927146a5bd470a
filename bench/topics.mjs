// How long it takes to know whether topics are as declared, side by side in one run and interleaved:
//
//   kpipe     kpipe topics plan of all of them: partitions, replicas and configuration compared, exit 0
//   oracle    kafka-topics --describe of the sandbox's Kafka: the same facts, printed
//
//   kpipe sandbox up && npm run build && node bench/topics.mjs [--topics 1000] [--partitions 6] [--rounds 5]
//
// Each in a process of its own, from exec to exit: the time by the clock, and the CPU that the process itself took, which
// other work on the machine hardly changes. Reads the sandbox's kpipe.yaml (--config); works in topics of its own
// and removes them (--keep leaves them for the next run). Fails when plan is not in sync, or the oracle sees other topics.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { openKafkaAdmin } from '../dist/lib/kafka/admin.js';
import { findTools } from '../dist/lib/sandbox/tools.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    topics: { type: 'string', default: '1000' },
    partitions: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '5' },
    keep: { type: 'boolean', default: false },
  },
});
const [count, partitions, rounds] = [values.topics, values.partitions, values.rounds].map(Number);
const { kafka } = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const { java, kafka: tools } = findTools(process.env);
const run = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'kpipe-bench-'));
const names = Array.from({ length: count }, (_, index) => `bench-topics-${String(index).padStart(4, '0')}`);
const admin = await openKafkaAdmin(kafka, { deadlineMs: 60_000 });

/** A few at a time: a controller takes hundreds of topics, not all at once. */
async function inGroups(items, act) {
  for (let at = 0; at < items.length; at += 20) {
    await Promise.all(items.slice(at, at + 20).map(act));
  }
}

function timed(command, args) {
  const startedAt = performance.now();
  // The shell's `times` tells what its children took.
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', '"$@"; code=$?; times >&2; exit $code', 'sh', command, ...args],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      timeout: 600_000,
    },
  );
  const ms = performance.now() - startedAt;
  const cpuMs = [...(stderr.trimEnd().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
  return { ms, cpuMs, status, stdout, stderr };
}

function kpipe(file) {
  const { status, stdout, stderr, ...took } = timed(process.execPath, [run, 'topics', 'plan', '-c', file, '--json']);
  const inSync = status === 0 ? JSON.parse(stdout).inSync.length : 0;
  if (inSync !== count) {
    throw new Error(`plan: exit ${status}, ${inSync} of ${count} in sync: ${stderr}`);
  }
  return took;
}

function oracle() {
  const args = ['-cp', tools.classPath, 'org.apache.kafka.tools.TopicCommand', '--describe'];
  const { status, stdout, stderr, ...took } = timed(java.java, [
    '-Dlog4j2.level=ERROR',
    ...args,
    '--bootstrap-server',
    kafka.brokers.join(','),
  ]);
  const seen = stdout.split('\n').filter((line) => /^\s*Topic: bench-topics-\d+\s.*PartitionCount/.test(line)).length;
  if (status !== 0 || seen !== count) {
    throw new Error(`kafka-topics: exit ${status}, ${seen} of ${count} topics: ${stderr}`);
  }
  return took;
}

const median = (numbers) => numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)];

try {
  const existing = new Set((await admin.listTopics()).map(({ name }) => name));
  const missing = names.filter((name) => !existing.has(name));
  await inGroups(missing, (name) =>
    admin.createTopic({ name, partitions, replicationFactor: 1, config: { 'retention.ms': '86400000' } }),
  );
  while ((await admin.describeTopics(names)).filter((topic) => topic.partitions.length === partitions).length < count) {
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const file = join(directory, 'kpipe.yaml');
  const topics = names.map((name) => `  ${name}: {partitions: ${partitions}, replicationFactor: 1, retention: 1d}`);
  writeFileSync(
    file,
    `pipeline: bench\nkafka: {brokers: [${kafka.brokers.join(', ')}]}\ntopics:\n${topics.join('\n')}\n`,
  );
  const took = { kpipe: [], oracle: [] };
  for (let round = 0; round < rounds; round += 1) {
    took.kpipe.push(kpipe(file));
    took.oracle.push(oracle());
  }
  const ratio = (of) => Number((median(took.kpipe.map(of)) / median(took.oracle.map(of))).toFixed(2));
  const result = {
    topics: count,
    partitions,
    rounds,
    cpus: cpus().length,
    load: Number(loadavg()[0].toFixed(1)),
    kpipeMs: took.kpipe.map(({ ms }) => Math.round(ms)),
    oracleMs: took.oracle.map(({ ms }) => Math.round(ms)),
    ratioOfMedians: ratio(({ ms }) => ms),
    kpipeCpuMs: took.kpipe.map(({ cpuMs }) => Math.round(cpuMs)),
    oracleCpuMs: took.oracle.map(({ cpuMs }) => Math.round(cpuMs)),
    cpuRatioOfMedians: ratio(({ cpuMs }) => cpuMs),
  };
  console.log(JSON.stringify(result, null, 2));
} finally {
  if (!values.keep) {
    await inGroups(names, (name) => admin.deleteTopic(name).catch(() => undefined));
  }
  await admin.close();
  rmSync(directory, { recursive: true, force: true });
}
