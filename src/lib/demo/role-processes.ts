import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Config } from '../config/load.ts';
import type { RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';

/** How this kpipe is started: `[node, bin/run.js]`. */
export type CommandLine = readonly [program: string, ...args: string[]];

interface RunningRole {
  readonly role: RoleName;
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly log: string;
}

/** A group that lost a member without a word waits for its session to end before it gives out partitions. */
const readyDeadlineMs = 90_000;
/** More than a role's own drain deadline. */
const drainDeadlineMs = 45_000;

/** `kpipe consume ROLE` as processes of their own, as anybody would run them. What they say goes to files. */
export class RoleProcesses {
  readonly #roles: readonly RunningRole[];
  readonly #failure = new AbortController();
  #stopping = false;

  constructor(config: Config, names: readonly RoleName[], commandLine: CommandLine, logDirectory: string) {
    mkdirSync(logDirectory, { recursive: true });
    this.#roles = names.map((role) => startRole(config, role, commandLine, logDirectory));
    for (const running of this.#roles) {
      void running.exited.then(() => {
        if (!this.#stopping) {
          this.#failure.abort(endedByItself(running));
        }
      });
    }
  }

  /** Aborts, with the error to tell, when a role ends by itself. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  /** Resolves when every role is a member of its group and has partitions. @throws KPIPE_INCOMPLETE: one ended, or never came */
  async ready(admin: ClusterAdmin, config: Config, signal: AbortSignal): Promise<void> {
    for (const deadline = Date.now() + readyDeadlineMs; ; await wait(250, signal)) {
      this.failure.throwIfAborted();
      signal.throwIfAborted();
      const waiting = await this.#withoutPartitions(admin, config);
      if (waiting.length === 0) {
        return;
      }
      if (Date.now() > deadline) {
        throw new KpipeError(
          'KPIPE_INCOMPLETE',
          `after ${readyDeadlineMs / 1000} s these roles have no partitions: ${waiting.join(', ')}`,
          {
            next: `see ${this.#roles.map(({ log }) => log).join(', ')}`,
          },
        );
      }
    }
  }

  /** SIGTERM, which drains; SIGKILL when that takes longer than it may. Answers who did not end as it should. */
  async stop(deadlineMs = drainDeadlineMs): Promise<readonly string[]> {
    this.#stopping = true;
    const endings = await Promise.all(this.#roles.map((running) => stopRole(running, deadlineMs)));
    return endings.flatMap((problem) => (problem === undefined ? [] : [problem]));
  }

  async #withoutPartitions(admin: ClusterAdmin, config: Config): Promise<readonly RoleName[]> {
    const states = await Promise.all(
      this.#roles.map(async ({ role }) => {
        const group = await admin.describeGroup(config.roles[role]?.group ?? '');
        return {
          role,
          ready: group.state === 'Stable' && group.members.some(({ assignment }) => assignment.length > 0),
        };
      }),
    );
    return states.filter(({ ready }) => !ready).map(({ role }) => role);
  }
}

function startRole(config: Config, role: RoleName, [program, ...args]: CommandLine, logDirectory: string): RunningRole {
  const log = join(logDirectory, `demo-${role}.log`);
  const file = openSync(log, 'w', 0o600);
  const context = config.context === null ? [] : ['--context', config.context];
  const child = spawn(program, [...args, 'consume', role, '--config', config.file, ...context, '--json'], {
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  return { role, child, log, exited: once(child, 'exit') };
}

function endedByItself({ role, child, log }: RunningRole): KpipeError {
  return new KpipeError(
    'KPIPE_INCOMPLETE',
    `the role ${role} ended (${child.exitCode ?? child.signalCode}): ${lastWords(log)}`,
    {
      next: `see ${log}, or run it yourself: kpipe consume ${role}`,
      where: { role },
    },
  );
}

async function stopRole({ role, child, exited, log }: RunningRole, deadlineMs: number): Promise<string | undefined> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
    await exited;
    clearTimeout(timer);
  }
  return child.exitCode === 0
    ? undefined
    : `role ${role} ended with ${child.exitCode ?? child.signalCode}, not with 0: see ${log}`;
}

function lastWords(log: string): string {
  const lines = readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('{'));
  return lines.slice(-3).join('; ') || 'it said nothing';
}
