// How long kpipe takes to start, against `node -e 0`: `node bench/startup.mjs [n]` prints medians, and exits 1 when --help takes
// 2.5 times as long or longer. Runs are interleaved, so that what else the machine does hits all alike.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';

const run = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const limit = 2.5;

const cases = {
  'node -e 0': ['-e', '0'],
  'kpipe --help': [run, '--help'],
  'kpipe --help by oclif': [run, '--json', '--help'],
  'kpipe topics plan --help': [run, 'topics', 'plan', '--help'],
  'kpipe --version': [run, '--version'],
  'kpipe context list': [run, 'context', 'list', '--config', '/nowhere/kpipe.yaml'],
};

function median(values) {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)];
}

/** CPU of all children that have ended, user and system: fields 16 and 17 of proc(5), in ticks of 10 ms. */
export function childCpuMs() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

/**
 * Over n interleaved runs, by case: the median of the wall time and the mean of the CPU time, in ms.
 * @returns {Record<string, {wallMs: number, cpuMs: number}>}
 */
export function measureStartup(n, names = Object.keys(cases)) {
  const wall = Object.fromEntries(names.map((name) => [name, []]));
  const cpu = Object.fromEntries(names.map((name) => [name, 0]));
  for (let round = 0; round <= n; round += 1) {
    for (const name of names) {
      const [cpuBefore, began] = [childCpuMs(), performance.now()];
      const { error } = spawnSync(process.execPath, cases[name], { stdio: 'ignore' });
      if (error !== undefined) {
        throw error;
      }
      // The first round warms the file cache and the compile cache.
      if (round > 0) {
        wall[name].push(performance.now() - began);
        cpu[name] += childCpuMs() - cpuBefore;
      }
    }
  }
  return Object.fromEntries(names.map((name) => [name, { wallMs: median(wall[name]), cpuMs: cpu[name] / n }]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const n = Number(process.argv[2] ?? 21);
  const measured = measureStartup(n);
  const bare = measured['node -e 0'];
  console.log(
    `node ${process.versions.node}, n = ${n} interleaved; ${cpus().length} × ${cpus()[0].model}, ${release()}`,
  );
  for (const [name, { wallMs, cpuMs }] of Object.entries(measured)) {
    const ratios = `${(wallMs / bare.wallMs).toFixed(2)} × wall, ${(cpuMs / bare.cpuMs).toFixed(2)} × CPU`;
    console.log(
      `${name.padEnd(26)} ${wallMs.toFixed(1).padStart(6)} ms  CPU ${cpuMs.toFixed(0).padStart(4)} ms  ${ratios}`,
    );
  }
  process.exitCode = measured['kpipe --help'].wallMs < limit * bare.wallMs ? 0 : 1;
}
