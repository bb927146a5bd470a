// CPU seconds and memory of processes, as Linux tells them in /proc.
import { spawn, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** The fields of /proc/PID/stat after the name, which may hold anything. */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** A process, its live descendants, and what those that ended had used. */
export function cpuSeconds(pid) {
  // Who ends between two readings is in neither, or in both: then it is all read again.
  for (;;) {
    const before = family(pid);
    const ticks = before.reduce(
      (sum, fields) => sum + [11, 12, 13, 14].reduce((of, at) => of + Number(fields[at]), 0),
      0,
    );
    const after = family(pid);
    if (idsOf(before) === idsOf(after)) {
      return ticks / ticksPerSecond;
    }
  }
}

/** The stat fields of a process and of its live descendants; the first is the state, the second the parent. */
function family(pid) {
  const all = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      const fields = stat(entry);
      return fields === null ? [] : [{ id: Number(entry), parent: Number(fields[1]), fields }];
    });
  const of = (id) => all.filter(({ parent }) => parent === id).flatMap((child) => [child, ...of(child.id)]);
  return [...all.filter(({ id }) => id === pid), ...of(pid)].map(({ id, fields }) => Object.assign(fields, { id }));
}

function idsOf(processes) {
  return processes.map(({ id }) => id).join();
}

function peakRssMb(pid) {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1000;
  } catch {
    return 0;
  }
}

/** Runs a command to its end, or until `until` resolves and it is told to stop. */
export async function measured(command, args, { env = process.env, until, acceptedCodes = [0] } = {}) {
  const began = performance.now();
  const child = spawn(
    'bash',
    [
      '-c',
      'echo "$BASHPID" >&4; "$@" & echo "$!" >&4; wait "$!"; code=$?; times >&3; exit "$code"',
      'bench',
      command,
      ...args,
    ],
    {
      env,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    },
  );
  const text = ['', '', '', '', ''];
  for (const fd of [1, 2, 3, 4]) {
    child.stdio[fd].on('data', (chunk) => (text[fd] += chunk));
  }
  let rssMb = 0;
  const pid = () => Number(text[4].split('\n')[1] ?? 0);
  const watch = setInterval(() => (rssMb = Math.max(rssMb, peakRssMb(pid()))), 100);
  const ended = new Promise((resolve) => child.on('close', resolve));
  if (until !== undefined) {
    await Promise.race([until(), ended]);
    process.kill(pid(), 'SIGTERM');
  }
  const code = await ended;
  clearInterval(watch);
  if (!acceptedCodes.includes(code)) {
    throw new Error(`${command} ended with ${code}: ${`${text[1]}${text[2]}`.slice(-1500)}`);
  }
  const [user, system] = (text[3].split('\n')[1] ?? '').split(' ').map(secondsOf);
  return { seconds: (performance.now() - began) / 1000, cpu: user + system, rssMb, output: text[1], errors: text[2] };
}

/** `1m2.345s`, as bash's `times` writes it. */
function secondsOf(text) {
  const [, minutes, seconds] = /^(\d+)m([\d.]+)s$/.exec(text) ?? [];
  return Number(minutes) * 60 + Number(seconds);
}
