import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { KpipeError } from '../errors.ts';
import type { SandboxPaths } from './directory.ts';
import type { ProcessSpec } from './processes.ts';
import { type BigQueryTool, findBigQuery, isMissing } from './tools.ts';
import type { BigQueryAvailability, SandboxOptions, SandboxState } from './types.ts';

export const BIGQUERY_PROJECT = 'kpipe-local';

/** Whether the stand-in runs in this sandbox. Where it cannot, everything else still does, unless it was asked for. */
export function bigQueryAvailability(options: SandboxOptions): BigQueryAvailability {
  if (options.bigquery === 'off') {
    return { available: false, reason: 'left out on request' };
  }
  const tool = findBigQuery(options.environment);
  if (!isMissing(tool)) {
    return { available: true };
  }
  if (options.bigquery === 'required') {
    throw new KpipeError('KPIPE_DEPENDENCY_MISSING', `not found on this machine: ${tool.missing}`, { next: tool.next });
  }
  return { available: false, reason: `${tool.missing}; ${tool.next}` };
}

export function bigQuerySpec(paths: SandboxPaths, state: SandboxState, tool: BigQueryTool): ProcessSpec {
  const directory = join(paths.data, 'bigquery');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const listen = ['--rest-host', '127.0.0.1', '--rest-port', String(state.ports.bigqueryRest)];
  const listenGrpc = ['--grpc-host', '127.0.0.1', '--grpc-port', String(state.ports.bigqueryGrpc)];
  const data = ['--persistent', '--data-dir', directory, '--project', BIGQUERY_PROJECT];
  return {
    name: 'bigquery',
    file: tool.python,
    args: [
      '-m',
      'bqemulator',
      'start',
      ...listen,
      ...listenGrpc,
      ...data,
      '--log-level',
      'warning',
      '--log-format',
      'console',
    ],
    workingDirectory: directory,
    environment: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', TZ: 'UTC', HOME: tool.home, PYTHONDONTWRITEBYTECODE: '1' },
    user: undefined,
  };
}
