import { readdirSync, readFileSync } from 'node:fs';

import type { TestProject } from 'vitest/node';

interface MarkedProcess {
  readonly pid: number;
  readonly command: string;
}

/** What a process that was told to stop may take before it counts as leaked: long, for a machine with other work. */
const graceMs = 30_000;
const pollMs = 100;

/** Fails the run when a process that a test started is still there at its end, and ends it. */
export default function watchForLeaks(project: TestProject): () => Promise<void> {
  const mark = project.config.env['KPIPE_TEST_RUN'];
  if (mark === undefined || mark === '') {
    throw new Error('vitest.config.ts sets no KPIPE_TEST_RUN');
  }
  return async () => {
    const deadline = Date.now() + graceMs;
    let left = markedProcesses(mark);
    while (left.length > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, pollMs));
      left = markedProcesses(mark);
    }
    if (left.length > 0) {
      left.forEach(({ pid }) => end(pid));
      const list = left.map(({ pid, command }) => `  ${pid} ${command}`).join('\n');
      throw new Error(`tests of ${project.name} left ${left.length} processes running (now ended):\n${list}`);
    }
  };
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** Processes whose environment at their start held the mark, without vitest's own workers. Linux only: elsewhere none are seen. */
export function markedProcesses(mark: string): readonly MarkedProcess[] {
  return processIds().flatMap((pid) => {
    const environment = readProcessFile(pid, 'environ');
    const command = readProcessFile(pid, 'cmdline').replaceAll('\0', ' ').trim();
    const isMarked = environment.split('\0').includes(`KPIPE_TEST_RUN=${mark}`);
    return isMarked && !command.includes('/vitest/') ? [{ pid, command }] : [];
  });
}

function processIds(): readonly number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

function readProcessFile(pid: number, name: 'environ' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // It has ended, or it is another user's.
    return '';
  }
}
