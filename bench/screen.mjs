// What `kpipe lag --watch` takes: CPU, memory and bytes to the terminal, with many groups that move.
//
//   kpipe sandbox up && npm run build && node bench/screen.mjs [--groups 50] [--partitions 6] [--interval 2s] [--seconds 120]
//     [--columns 120] [--rows 60] [--view '' | t | b | l | r | c] [--config kpipe.yaml]
//
// Makes a topic and groups of its own and deletes them; records come in and a fifth of the groups commits every 2 s. The screen runs
// in a pseudo-terminal of `script` (util-linux). CPU is the process's own user and system time, of one core; the first 20 s, with its start, do
// not count.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { loadConfig } from '../dist/lib/config/load.js';
import { parseDuration } from '../dist/lib/config/units.js';
import { withKafkaAdmin } from '../dist/lib/kafka/admin.js';
import { openPublisher } from '../dist/lib/kafka/publisher.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'kpipe.yaml' },
    groups: { type: 'string', default: '50' },
    partitions: { type: 'string', default: '6' },
    interval: { type: 'string', default: '2s' },
    seconds: { type: 'string', default: '120' },
    columns: { type: 'string', default: '120' },
    rows: { type: 'string', default: '60' },
    view: { type: 'string', default: '' },
  },
});
const config = loadConfig({ file: values.config, cwd: process.cwd(), env: process.env });
const kpipe = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const mark = randomBytes(4).toString('hex');
const topic = `bench.screen.${mark}`;
const partitions = Number(values.partitions);
const groups = Array.from({ length: Number(values.groups) }, (_, index) => `bench-screen-${mark}-${index}`);
const intervalMs = parseDuration(values.interval);
const warmUpMs = 20_000;
const samples = 6;
const ticksPerSec = 100;
const pageBytes = 4096;

/** ms of CPU and bytes of memory that a process has taken. */
function usage(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return {
    cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSec,
    rssBytes: Number(fields[21]) * pageBytes,
  };
}

async function until(condition, what) {
  for (let tries = 0; tries < 300; tries += 1) {
    const value = condition();
    if (value) {
      return value;
    }
    await sleep(100);
  }
  throw new Error(`${what} did not come`);
}

/** The screen in a terminal of this size, and what it has written. */
async function openScreen() {
  const named = groups.map((group) => `--group ${group}`).join(' ');
  const size = `stty cols ${values.columns} rows ${values.rows}`;
  const command = `${size}; exec ${process.execPath} ${kpipe} lag --watch --interval ${values.interval} --config ${values.config} ${named}`;
  const child = spawn('script', ['-q', '-e', '-c', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const screen = { child, bytes: 0, clears: 0 };
  let text = '';
  child.stdout.setEncoding('latin1').on('data', (chunk) => {
    screen.bytes += chunk.length;
    screen.clears += chunk.split(/\u001b\[[0-3]?J/).length - 1;
    text = (text + chunk).slice(-100_000);
  });
  await until(() => text.includes(groups[0].slice(0, 12)), 'the first frame');
  const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0]);
  child.stdin.write(values.view);
  return { ...screen, pid, now: () => ({ bytes: screen.bytes, clears: screen.clears, ...usage(pid) }) };
}

/** Records come in, and groups follow. */
async function move(admin, publisher, signal) {
  let end = 0n;
  for (let round = 0; !signal.aborted; round += 1) {
    const records = Array.from({ length: partitions * 20 }, (_, index) => ({
      key: null,
      value: Buffer.from('x'),
      partition: index % partitions,
    }));
    await publisher.publish(topic, records);
    end += 20n;
    for (const group of groups.filter((_, index) => index % 5 === round % 5)) {
      const commits = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: end - 10n }));
      await admin.commitOffsets(group, commits);
    }
    await sleep(2000, undefined, { signal }).catch(() => undefined);
  }
}

function report(taken) {
  const [first] = taken;
  const last = taken.at(-1);
  const seconds = (last.atMs - first.atMs) / 1000;
  const looks = (last.atMs - first.atMs) / intervalMs;
  const parts = taken.slice(1).map((now, index) => ({
    cpu: ((now.cpuMs - taken[index].cpuMs) * 100) / (now.atMs - taken[index].atMs),
    rss: now.rssBytes / 1e6,
  }));
  console.log(
    `CPU      ${(((last.cpuMs - first.cpuMs) * 100) / (last.atMs - first.atMs)).toFixed(2)} % of a core (${parts.map(({ cpu }) => cpu.toFixed(1)).join(' ')})`,
  );
  console.log(`memory   ${parts.map(({ rss }) => rss.toFixed(0)).join(' ')} MB resident`);
  console.log(
    `written  ${((last.bytes - first.bytes) / looks).toFixed(0)} bytes a look over ${seconds.toFixed(0)} s; ${last.clears - first.clears} times cleared`,
  );
}

await withKafkaAdmin(config.kafka, async (admin) => {
  await admin.createTopic({ name: topic, partitions, replicationFactor: 1, config: {} });
  const publisher = await openPublisher(config.kafka);
  const over = new AbortController();
  try {
    const moving = move(admin, publisher, over.signal);
    const screen = await openScreen();
    await sleep(warmUpMs);
    const taken = [{ atMs: performance.now(), ...screen.now() }];
    for (let sample = 0; sample < samples; sample += 1) {
      await sleep((Number(values.seconds) * 1000) / samples);
      taken.push({ atMs: performance.now(), ...screen.now() });
    }
    const [load] = loadavg();
    console.log(
      `${groups.length} groups of ${partitions} partitions, ${values.columns} × ${values.rows}, every ${values.interval}, view ${values.view || 'overview'}; ${cpus().length} cores, load ${load.toFixed(1)}`,
    );
    report(taken);
    screen.child.stdin.write('q');
    await once(screen.child, 'close');
    over.abort();
    await moving;
  } finally {
    over.abort();
    await publisher.close();
    for (const group of groups) {
      await admin.deleteGroup(group).catch((error) => console.error(error.message));
    }
    await admin.deleteTopic(topic);
  }
});
