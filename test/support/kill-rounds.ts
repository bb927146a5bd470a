import { expect } from 'vitest';

import { DeliveryChecker, type CheckReport } from './checker.ts';
import { killInstant } from './fault-instants.ts';
import type { FaultPipeline } from './fault-pipeline.ts';
import type { RecordMaker } from './fault-records.ts';
import { streamOf, type Seeded } from './seeded.ts';

export interface KillRun {
  readonly pipeline: FaultPipeline;
  readonly maker: (random: Seeded, partitions: number) => RecordMaker;
  readonly seed: number;
  readonly rounds: number;
  readonly recordsPerRound: number;
}

/**
 * Consumers of one role are killed at seeded instants, all at once, while the producer goes on, and everything is compared
 * after each kill; then what is left is drained.
 */
export async function killAndCheck(run: KillRun): Promise<Omit<CheckReport, 'position'>> {
  const { pipeline, maker, seed, rounds, recordsPerRound } = run;
  const make = maker(streamOf(seed, `${pipeline.role} records`), pipeline.partitions);
  const producer = await pipeline.openProducer(streamOf(seed, `${pipeline.role} bursts`), make);
  const random = streamOf(seed, `${pipeline.role} kills`);
  const checker = await DeliveryChecker.open(pipeline, producer);
  const instants = new Map<string, number>();
  for (let round = 1; round <= rounds; round += 1) {
    const producing = producer.produce(recordsPerRound);
    const consumers = Array.from({ length: random.chance(0.4) ? 2 : 1 }, () => pipeline.consume());
    const instant = await killInstant(pipeline, random, consumers, recordsPerRound);
    consumers.forEach(({ child }) => child.kill('SIGKILL'));
    const ends = await Promise.all(consumers.map(({ ended }) => ended));
    expect(ends).toEqual(ends.map((end) => ({ ...end, signal: 'SIGKILL' })));
    await producing;
    await checker.check().catch((error: unknown) => {
      throw new Error(`round ${round}, killed while ${instant}: ${String(error)}`, { cause: error });
    });
    instants.set(instant, (instants.get(instant) ?? 0) + 1);
    // Now and then the dead are left for the group to find, as it is without a test.
    if (random.chance(0.9)) {
      await pipeline.members.evictAll();
    }
    if (round % 10 === 0) {
      process.stderr.write(`faults: ${pipeline.role}: ${round} kills, ${producer.sent} records sent\n`);
    }
  }
  const drained = await pipeline.consume('--until-drained', '--json').ended;
  expect(drained).toMatchObject({ code: 0 });
  const { position, ...report } = await checker.checkDrained();
  expect(Number(position)).toBe(rounds * recordsPerRound);
  expect(report.stored).toBeGreaterThan(report.duplicates + report.deadLetters);
  process.stderr.write(
    `faults: ${pipeline.role}: kills ${JSON.stringify(Object.fromEntries(instants))}, ${JSON.stringify(report)}\n`,
  );
  return report;
}
