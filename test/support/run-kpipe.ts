import { spawn, type ChildProcessByStdio, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process whose output a test waits on. */
export interface Running {
  readonly pid: number;
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Resolves with the match as soon as stdout and stderr together hold it; fails when the process ends without. */
  readonly shows: (pattern: RegExp) => Promise<RegExpExecArray>;
  /** What it has printed so far, stdout before stderr. */
  readonly output: () => string;
  readonly ended: Promise<Ended>;
}

export function runProgram(command: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  let over = false;
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      over = true;
      resolve({ code, signal, ...output });
    });
  });
  const shows = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const match = pattern.exec(output.stdout + output.stderr);
      if (match !== null) {
        return match;
      }
      if (over) {
        throw new Error(`the process ended without ${String(pattern)}:\n${output.stdout}${output.stderr}`);
      }
      await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), ended]);
    }
  };
  return { pid: child.pid ?? 0, child, shows, output: () => output.stdout + output.stderr, ended };
}

/** Runs bin/run.js on this Node to its end; stdin is empty. */
export function kpipe(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  const running = runProgram(process.execPath, [`${root}bin/run.js`, ...args], { cwd: root, ...options });
  running.child.stdin.end();
  return running.ended;
}
