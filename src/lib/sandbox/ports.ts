import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

import { KpipeError } from '../errors.ts';
import type { BrokerCount, FixedPorts, SandboxPorts } from './types.ts';

type Wanted = readonly (number | undefined)[];

/** The flat order in which ports are wanted and assigned. */
export function portsFrom(flat: readonly number[], brokers: BrokerCount): SandboxPorts {
  const [postgresPrimary = 0, postgresReplica = 0, redis = 0, bigqueryRest = 0, bigqueryGrpc = 0] = flat.slice(
    2 * brokers,
  );
  return {
    brokers: flat.slice(0, brokers),
    controllers: flat.slice(brokers, 2 * brokers),
    postgresPrimary,
    postgresReplica,
    redis,
    bigqueryRest,
    bigqueryGrpc,
  };
}

export function flatPorts(ports: SandboxPorts): readonly number[] {
  return [
    ...ports.brokers,
    ...ports.controllers,
    ports.postgresPrimary,
    ports.postgresReplica,
    ports.redis,
    ports.bigqueryRest,
    ports.bigqueryGrpc,
  ];
}

/** Fixed ports in the flat order; undefined where any free one will do. */
export function wantedPorts(fixed: FixedPorts, brokers: BrokerCount): Wanted {
  const run = (first: number | undefined, count: number): Wanted =>
    Array.from({ length: count }, (_, index) => (first === undefined ? undefined : first + index));
  return [
    ...run(fixed.kafka, 2 * brokers),
    ...run(fixed.postgres, 2),
    ...run(fixed.redis, 1),
    ...run(fixed.bigquery, 2),
  ];
}

/** `kafka=39092,postgres=35432` → `{kafka: 39092, postgres: 35432}`. */
export function parsePorts(text: string): FixedPorts {
  const ports: { -readonly [K in keyof FixedPorts]: number } = {};
  for (const part of text.split(',')) {
    const [name = '', value = ''] = part.split('=', 2).map((piece) => piece.trim());
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < 1 || number > 65_528) {
      throw new KpipeError('KPIPE_USAGE', `not a port: '${part}'`, {
        next: 'write for example kafka=39092,redis=36379',
      });
    }
    if (name !== 'kafka' && name !== 'postgres' && name !== 'redis' && name !== 'bigquery') {
      throw new KpipeError('KPIPE_USAGE', `no server is called '${name}'`, {
        next: 'the names are kafka, postgres, redis and bigquery',
      });
    }
    ports[name] = number;
  }
  return ports;
}

/**
 * Ports for the servers that do not run: the fixed one, else the one of last time when it is still free, else a free one.
 * `taken` marks the positions whose server runs: those keep what they have.
 */
export async function assignPorts(
  fixed: Wanted,
  previous: readonly number[] | undefined,
  taken: readonly boolean[],
): Promise<readonly number[]> {
  const assigned: number[] = [];
  const chosen = new Set<number>(previous?.filter((_, index) => taken[index] === true));
  for (const [index, wanted] of fixed.entries()) {
    const before = previous?.[index];
    if (taken[index] === true && before !== undefined) {
      assigned.push(before);
      continue;
    }
    assigned.push(await pickPort(wanted, before, chosen));
  }
  return assigned;
}

async function pickPort(wanted: number | undefined, before: number | undefined, chosen: Set<number>): Promise<number> {
  if (wanted !== undefined) {
    if (chosen.has(wanted) || !(await isFree(wanted))) {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', `port ${wanted} on 127.0.0.1 is in use`, {
        next: 'choose another with --ports, or leave it out to get a free one',
        where: { host: `127.0.0.1:${wanted}` },
      });
    }
    chosen.add(wanted);
    return wanted;
  }
  if (before !== undefined && !chosen.has(before) && (await isFree(before))) {
    chosen.add(before);
    return before;
  }
  for (let tries = 0; tries < 1_000; tries += 1) {
    const port = randomInt(FIRST_FREE, LAST_FREE);
    if (!chosen.has(port) && (await isFree(port))) {
      chosen.add(port);
      return port;
    }
  }
  throw new KpipeError('KPIPE_SANDBOX_FAILED', `no free port between ${FIRST_FREE} and ${LAST_FREE} on 127.0.0.1`, {
    next: 'choose ports with --ports',
  });
}

/**
 * Below the range from which Linux takes clients' ports (32768 up): a client that tries to reach a stopped server again and
 * again could otherwise be given the server's own port, connect to itself, and keep the server from starting.
 */
const FIRST_FREE = 20_000;
const LAST_FREE = 32_000;

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
