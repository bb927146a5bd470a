import { readFileSync, renameSync, writeFileSync } from 'node:fs';

import { z } from 'zod';

import { codeOf, KpipeError } from '../errors.ts';
import type { SandboxPaths } from './directory.ts';
import type { SandboxState, ServerName } from './types.ts';

const port = z.int().min(1).max(65_535);

const stateSchema = z.object({
  version: z.literal(1),
  directory: z.string(),
  brokers: z.union([z.literal(1), z.literal(3)]),
  kafkaClusterId: z.string(),
  ports: z.object({
    brokers: z.array(port),
    controllers: z.array(port),
    postgresPrimary: port,
    postgresReplica: port,
    redis: port,
    bigqueryRest: port,
    bigqueryGrpc: port,
  }),
  bigquery: z.discriminatedUnion('available', [
    z.object({ available: z.literal(true) }),
    z.object({ available: z.literal(false), reason: z.string() }),
  ]),
  configPath: z.string().nullable(),
});

/** What the last `up` decided, or undefined when there is no sandbox here. */
export function readState(paths: SandboxPaths): SandboxState | undefined {
  let text: string;
  try {
    text = readFileSync(paths.state, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') {
      return undefined;
    }
    throw new KpipeError('KPIPE_SANDBOX_FAILED', `the sandbox's state ${paths.state} cannot be read`, {
      next: 'run as the user who started the sandbox',
      cause: error,
    });
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new KpipeError('KPIPE_SANDBOX_FAILED', `the sandbox's state ${paths.state} is not this version's`, {
      next: 'kpipe sandbox reset --yes',
      cause: error,
    });
  }
}

export function writeState(paths: SandboxPaths, state: SandboxState): void {
  writeAtomically(paths.state, `${JSON.stringify(state, null, 2)}\n`, 0o600);
}

/** A reader sees the old file or the new one, never a part; the mode holds from the first byte. */
export function writeAtomically(path: string, text: string, mode: number): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, path);
}

/** The servers of a sandbox, in the order in which a reader looks for them. */
export function serverNames(state: Pick<SandboxState, 'brokers' | 'bigquery'>): readonly ServerName[] {
  const brokers: readonly ServerName[] = state.brokers === 3 ? ['kafka-1', 'kafka-2', 'kafka-3'] : ['kafka-1'];
  return [...brokers, 'postgres-primary', 'postgres-replica1', 'redis', 'bigquery'];
}

/** The port of a server that clients use. */
export function clientPort(state: SandboxState, server: ServerName): number {
  switch (server) {
    case 'kafka-1':
    case 'kafka-2':
    case 'kafka-3':
      return state.ports.brokers[Number(server.slice(-1)) - 1] ?? 0;
    case 'postgres-primary':
      return state.ports.postgresPrimary;
    case 'postgres-replica1':
      return state.ports.postgresReplica;
    case 'redis':
      return state.ports.redis;
    case 'bigquery':
      return state.ports.bigqueryRest;
  }
}
