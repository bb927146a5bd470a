import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { identityOf, isAlive } from '../../src/lib/sandbox/process-identity.ts';
import { findOldNode } from '../support/node-versions.ts';
import { kpipe, root, runProgram, type Running } from '../support/run-kpipe.ts';

/**
 * A small package with kpipe's own launcher, start and base command, and one command that waits for a signal, drains as long as
 * stdin is open, and says what it does. Where no Node is too old for kpipe, this one pretends to be.
 */
const oldNode = findOldNode();
const module = (path: string): string => JSON.stringify(pathToFileURL(join(root, path)).href);
const sources = {
  'package.json': JSON.stringify({
    name: 'waiter',
    version: '1.0.0',
    type: 'module',
    oclif: { bin: 'kpipe', commands: './commands', topicSeparator: ' ' },
  }),
  'bin/run.js': `
    if (process.env.KPIPE_LAUNCHER === undefined && ${String(oldNode === undefined)}) {
      Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.0.0' } });
    }
    const { launch } = await import(${module('dist/cli/launch.js')});
    await launch(import.meta.url);`,
  'commands/wait.js': `
    import { once } from 'node:events';
    import { KpipeCommand } from ${module('dist/cli/base-command.js')};
    export default class Wait extends KpipeCommand {
      static flags = {};
      async run() {
        const signal = this.interruption();
        let signals = 0;
        process.on('SIGINT', () => {
          signals += 1;
          console.log('SIGINT came');
          if (signals === 1 && process.env.KPIPE_TEST_TWICE !== undefined) process.kill(process.pid, 'SIGINT');
        });
        console.log('ready ' + process.pid + ' on ' + process.versions.node + ' ' + (process.env.KPIPE_LAUNCHER ?? 'unmarked'));
        process.stdin.resume();
        const ended = once(process.stdin, 'end');
        await Promise.race([ended, once(signal, 'abort')]);
        if (signal.aborted) console.log('draining: ' + signal.reason.message);
        await ended;
        console.log('drained');
        process.exitCode = 3;
      }
    }`,
};

let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-launcher-'));
  for (const folder of ['bin', 'commands', 'node_modules/node/bin']) {
    mkdirSync(join(directory, folder), { recursive: true });
  }
  for (const [path, text] of Object.entries(sources)) {
    writeFileSync(join(directory, path), text);
  }
  symlinkSync(process.execPath, join(directory, 'node_modules/node/bin/node'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function launched(env: Readonly<Record<string, string>> = {}): Running {
  const args = [join(directory, 'bin/run.js'), 'wait'];
  // A process group of its own, as a shell gives every job.
  return runProgram(oldNode ?? process.execPath, args, { detached: true, env: { ...process.env, ...env } });
}

async function childOf(
  running: Running,
): Promise<{ readonly pid: number; readonly version: string; readonly mark: string }> {
  const [, pid = '', version = '', mark = ''] = await running.shows(/ready (\d+) on (\S+) (\S+)/);
  return { pid: Number(pid), version, mark };
}

/** False when nobody is left in the group. */
function signalGroup(leader: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-leader, signal);
  } catch {
    return false;
  }
}

describe(`a Node that is too old (${oldNode ?? 'none here: this one pretends'})`, () => {
  test("given the checkout's own Node, when kpipe starts, then it goes on there with its streams and exit code", async () => {
    const running = launched();
    const child = await childOf(running);
    running.child.stdin.end();
    const ended = await running.ended;

    expect(child.pid).not.toBe(running.pid);
    expect(child.version).toBe(process.versions.node);
    expect(child.mark).toBe('unmarked');
    expect(ended).toMatchObject({ code: 3, signal: null, stderr: '' });
    expect(ended.stdout).toMatch(/drained\n$/);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'given %s to the launcher alone, when it comes, then the child drains and ends as it likes',
    async (signal) => {
      const running = launched();
      await childOf(running);
      process.kill(running.pid, signal);
      await running.shows(new RegExp(`draining: stopped by ${signal}`));
      running.child.stdin.end();

      expect(await running.ended).toMatchObject({ code: 3, signal: null });
    },
  );

  test('given Ctrl-C on a terminal, when SIGINT reaches launcher and child, then it is one signal and forces nothing', async () => {
    const running = launched();
    await childOf(running);
    process.kill(-running.pid, 'SIGINT');
    await running.shows(/draining: stopped by SIGINT/);
    running.child.stdin.end();
    const ended = await running.ended;

    expect(ended).toMatchObject({ code: 3, signal: null });
    expect(ended.stdout.match(/draining/g)).toHaveLength(1);
  });

  test('given a signal, when the same comes right behind it, then the two are one', async () => {
    // It sends itself the second one as soon as it has the first: a test may be late.
    const running = launched({ KPIPE_TEST_TWICE: '1' });
    const child = await childOf(running);
    process.kill(child.pid, 'SIGINT');
    await running.shows(/SIGINT came[^]*SIGINT came/);
    running.child.stdin.end();

    expect(await running.ended).toMatchObject({ code: 3, signal: null });
  });

  test('given a draining child, when Ctrl-C comes again, then it ends at once', async () => {
    const running = launched();
    await childOf(running);
    process.kill(-running.pid, 'SIGINT');
    await running.shows(/draining/);
    await vi.waitUntil(() => !signalGroup(running.pid, 'SIGINT'), { timeout: 60_000, interval: 700 });
    const ended = await running.ended;

    expect(ended).toMatchObject({ code: 130, signal: null });
    expect(ended.stdout).not.toContain('drained');
  });

  test('given a launcher that is killed, when it is gone, then the child ends at once', async () => {
    const running = launched();
    const child = await childOf(running);
    const identity = identityOf(child.pid)!;
    process.kill(running.pid, 'SIGKILL');

    expect(await running.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    await vi.waitFor(() => expect(isAlive(identity)).toBe(false), { timeout: 60_000, interval: 10 });
    expect((await running.ended).stdout).not.toContain('drained');
  });

  test('given a child that a signal ended, when the launcher ends, then it ends by the same signal', async () => {
    const running = launched();
    const child = await childOf(running);
    process.kill(child.pid, 'SIGKILL');

    expect(await running.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
  });

  test('given no Node beside it, when kpipe starts, then it says so in one line and exits 2', async () => {
    const bare = join(directory, 'bare');
    mkdirSync(join(bare, 'bin'), { recursive: true });
    writeFileSync(join(bare, 'package.json'), '{"type":"module"}');
    writeFileSync(join(bare, 'bin/run.js'), sources['bin/run.js']);
    const ended = await runProgram(oldNode ?? process.execPath, [join(bare, 'bin/run.js'), '--help']).ended;

    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(/^kpipe needs Node 22\.12 or newer; this is \d+\.\d+\.\d+\n$/);
  });
});

describe('the program on the PATH', () => {
  test('given a link to bin/run.js, when it is run, then it is kpipe', async () => {
    const link = join(directory, 'kpipe');
    symlinkSync(join(root, 'bin/run.js'), link);
    const ended = await runProgram(link, ['--version'], { cwd: directory }).ended;

    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(/^@kpipe\/cli\/\d+\.\d+\.\d+ \S+ node-v\d+\.\d+\.\d+\n$/);
  });

  test('given the checkout, when npx runs kpipe, then it is this one', async () => {
    const npx = runProgram('npx', ['--no-install', 'kpipe', '--version'], { cwd: root });
    npx.child.stdin.end();
    const ended = await npx.ended;
    const direct = await kpipe(['--version']);

    expect(ended.code).toBe(0);
    expect(ended.stdout).toBe(direct.stdout);
  });
});
