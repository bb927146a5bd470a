import { readFileSync } from 'node:fs';

/**
 * A pid alone says nothing: it is used again. With the start time (ticks since boot, field 22 of /proc/PID/stat, proc(5)) and
 * the boot's id it names one process for ever.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
  readonly bootId: string;
}

export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly startTicks: string;
}

/** Parses a line of /proc/PID/stat. The second field is the name in brackets and may hold spaces and brackets itself. */
export function parseStat(line: string): ProcessStat | undefined {
  const pid = Number.parseInt(line, 10);
  const rest = line
    .slice(line.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ');
  const state = rest[0];
  const startTicks = rest[19];
  if (!Number.isInteger(pid) || state === undefined || startTicks === undefined || !/^\d+$/.test(startTicks)) {
    return undefined;
  }
  return { pid, state, startTicks };
}

export function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks, bootId: bootId() };
}

/** The identity in a JSON text, or undefined when it is none. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { pid, startTicks, bootId: boot } = value as Partial<Record<string, unknown>>;
  return typeof pid === 'number' && typeof startTicks === 'string' && typeof boot === 'string'
    ? { pid, startTicks, bootId: boot }
    : undefined;
}

/** Whether exactly this process still runs. A zombie does not: nothing may ever reap it in a container. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  return (
    stat !== undefined &&
    stat.startTicks === identity.startTicks &&
    stat.state !== 'Z' &&
    stat.state !== 'X' &&
    bootId() === identity.bootId
  );
}

/** Resident memory, from /proc/PID/status; null when the process is gone. */
export function rssBytes(pid: number): number | null {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
