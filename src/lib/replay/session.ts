import { randomBytes } from 'node:crypto';
import { hostname, userInfo } from 'node:os';

import { finishIntents } from '../bigquery/finish-intents.ts';
import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { openJournalLog } from '../kafka/journal-log.ts';
import { namedRole } from '../offsets/targets.ts';
import { openReplayPositions, type ReplayPositions } from '../postgres/replay-positions.ts';
import type { ReplayEdges } from './carry-out.ts';
import type { ReplayRole } from './observe.ts';

/** A role of kpipe.yaml. @throws KPIPE_USAGE with the nearest name */
export function replayRole(config: Config, name: string): ReplayRole {
  const target = namedRole(config, name);
  if (target.role === null || target.topic === null) {
    throw new KpipeError('KPIPE_USAGE', `kpipe.yaml has no role ${name}`);
  }
  return { ...target, role: target.role, topic: target.topic };
}

/** Runs `work` on what a replay of the role needs; everything is closed whatever happens. PostgreSQL only where it is the truth. */
export async function withReplayEdges<Result>(
  config: Config,
  role: Pick<ReplayRole, 'positionsIn'>,
  work: (edges: ReplayEdges) => Promise<Result>,
): Promise<Result> {
  const admin = await openKafkaAdmin(config.kafka);
  const journal = openJournalLog(config.kafka, admin);
  let positions: ReplayPositions | null = null;
  try {
    positions = role.positionsIn === 'postgres' ? await openPositions(config) : null;
    return await work({
      admin,
      positions,
      journal,
      finishIntents: ({ group, topic }, partitions) =>
        finishIntents(config.bigquery, admin, { group, topic: topic ?? '', partitions }),
      now: Date.now,
      newId: () => newReplayId(Date.now()),
      operator: `${userInfo().username}@${hostname()} (pid ${process.pid})`,
    });
  } finally {
    await Promise.allSettled([journal.close(), positions?.close()]);
    await admin.close();
  }
}

async function openPositions({ postgres, file }: Config): Promise<ReplayPositions> {
  if (postgres === undefined) {
    throw new KpipeError(
      'KPIPE_CONFIG_INVALID',
      `${file} has no postgres section, where this role keeps its positions`,
    );
  }
  return openReplayPositions(postgres);
}

/** `20261123-071500-9f2c`: sorts by time, and two operators never have the same. */
export function newReplayId(nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:]/g, '').replace('T', '-').slice(0, 15);
  return `${stamp}-${randomBytes(2).toString('hex')}`;
}
