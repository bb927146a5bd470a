import { setTimeout as sleep } from 'node:timers/promises';

import type { FaultPipeline } from './fault-pipeline.ts';
import type { Running } from './run-kpipe.ts';
import type { Seeded } from './seeded.ts';

/** Where a role stands, summed over its partitions, as PostgreSQL has it. */
export interface Standing {
  /** Rises with each claim. */
  readonly epochs: bigint;
  readonly position: bigint;
}

export async function standing({ database, role, topic }: FaultPipeline): Promise<Standing> {
  const { rows } = await database.query<{ epochs: string; position: string }>(
    `select coalesce(sum(epoch), 0) as epochs, coalesce(sum(next_offset), 0) as position
       from kpipe.consumer_offset where role = $1 and topic = $2`,
    [role, topic],
  );
  return { epochs: BigInt(rows[0]?.epochs ?? 0), position: BigInt(rows[0]?.position ?? 0) };
}

/** Waits for a condition while consumers run; fails when one ends by itself. */
export async function whileRunning(
  consumers: readonly Running[],
  what: string,
  holds: () => Promise<boolean>,
  timeoutMs = 120_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const over = Promise.race(
    consumers.map(async ({ ended }) => {
      const { code, signal, stderr } = await ended;
      throw new Error(`a consumer ended by itself (exit ${code}, signal ${signal}) before ${what}: ${stderr}`);
    }),
  );
  over.catch(() => undefined);
  while (!(await Promise.race([holds(), over]))) {
    if (performance.now() > deadline) {
      const said = consumers.map(({ pid, output }) => `${pid}: ${output().slice(-2000)}`).join('\n');
      throw new Error(`after ${timeoutMs / 1000} s: not ${what}; the consumers have said\n${said}`);
    }
    await Promise.race([sleep(5), over]);
  }
}

/**
 * Resolves at a seeded instant of the life of consumers that were just started: while they start, as they claim, while
 * they write, or around the mirror of their positions.
 * @param backlog how many records they have to write at least
 */
export async function killInstant(
  pipeline: FaultPipeline,
  random: Seeded,
  consumers: readonly Running[],
  backlog: number,
): Promise<string> {
  const before = await standing(pipeline);
  const chosen = random.number();
  if (chosen < 0.15) {
    await sleep(random.below(1200));
    return 'starting';
  }
  if (chosen < 0.3) {
    await whileRunning(consumers, 'a partition claimed', async () => (await standing(pipeline)).epochs > before.epochs);
    await sleep(random.below(30));
    return 'claiming';
  }
  const written = BigInt(1 + random.below(Math.max(1, Math.floor(backlog * 0.9))));
  await whileRunning(
    consumers,
    `${written} records written`,
    async () => (await standing(pipeline)).position >= before.position + written,
  );
  await sleep(chosen < 0.9 ? random.below(20) : 900 + random.below(200));
  return chosen < 0.9 ? 'writing' : 'mirroring';
}
