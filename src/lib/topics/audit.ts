import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { dirname, join } from 'node:path';

import { KpipeError, messageOf } from '../errors.ts';

/** What is about to be done to the cluster. */
export interface AuditAct {
  readonly clusterId: string;
  /** `create`, `config`, `partitions`, `delete`, `throttle`, `reassign`, `elect`, … */
  readonly act: string;
  readonly topic?: string;
  readonly [detail: string]: unknown;
}

/** Where acts are written down before they are done: a file on the operator's machine, only ever appended to. */
export interface AuditLog {
  readonly file: string;
  /** Returns when the line is on disk. @throws KPIPE_REFUSED: what is not written down is not done */
  record(act: AuditAct): void;
}

/** `$XDG_STATE_HOME/kpipe/topics-audit.ndjson`, one JSON document a line: when, who, where, what. */
export function openAuditLog(env: Readonly<Record<string, string | undefined>>, now: () => number): AuditLog {
  const stateHome = env['XDG_STATE_HOME'] ?? join(env['HOME'] ?? homedir(), '.local', 'state');
  const file = join(stateHome, 'kpipe', 'topics-audit.ndjson');
  const by = `${userInfo().username}@${hostname()}`;
  return {
    file,
    record: (act) => {
      const line = JSON.stringify({ at: new Date(now()).toISOString(), by, pid: process.pid, ...act });
      try {
        append(file, `${line}\n`);
      } catch (error) {
        throw new KpipeError('KPIPE_REFUSED', `the audit log cannot be written: ${messageOf(error)}`, {
          where: { file },
          next: 'let XDG_STATE_HOME name a directory that can be written to',
          cause: error,
        });
      }
    },
  };
}

function append(file: string, line: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const descriptor = openSync(file, 'a', 0o600);
  try {
    writeSync(descriptor, line);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
