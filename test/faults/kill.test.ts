import { describe, expect, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { killInstant } from '../support/fault-instants.ts';
import { faultPipeline, type FaultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker, logMaker, type RecordMaker } from '../support/fault-records.ts';
import { faultRounds, faultSeed, repeatable, streamOf, type Seeded } from '../support/seeded.ts';
import { faultSources } from '../support/source-kinds.ts';

const partitions = 4;
const seed = faultSeed();

interface KillRun {
  readonly pipeline: FaultPipeline;
  readonly maker: (random: Seeded, partitions: number) => RecordMaker;
  readonly rounds: number;
  readonly recordsPerRound: number;
}

/** Consumers are killed at seeded instants, all at once, while the producer goes on; then what is left is drained. */
async function killAndCheck({ pipeline, maker, rounds, recordsPerRound }: KillRun): Promise<void> {
  const make = maker(streamOf(seed, `${pipeline.role} records`), partitions);
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
    const report = await checker.check().catch((error: unknown) => {
      throw new Error(`round ${round}, killed while ${instant}: ${String(error)}`, { cause: error });
    });
    instants.set(instant, (instants.get(instant) ?? 0) + 1);
    // Now and then the dead are left for the group to find, as it is without a test.
    if (random.chance(0.9)) {
      await pipeline.members.evictAll();
    }
    if (round % 10 === 0) {
      process.stderr.write(
        `faults: ${pipeline.role}: ${round} kills, ${report.position} of ${producer.sent} records done\n`,
      );
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
}

describe.each(faultSources())('kill -9 at any instant, reading by $kind', async ({ kind, share }) => {
  const events = await faultPipeline({ role: 'events', partitions, source: kind });
  const logs = await faultPipeline({ role: 'logs', partitions, source: kind });
  const rounds = Math.ceil(faultRounds(20) * share);

  test(
    'events: every record has one effect, in the order of its key',
    async () => {
      await repeatable(`events, ${kind}`, seed, faultRounds(20), async () => {
        await killAndCheck({ pipeline: events, maker: eventMaker, rounds, recordsPerRound: 2000 });
      });
    },
    60_000 + rounds * 60_000,
  );

  test(
    'logs: every record is one line',
    async () => {
      await repeatable(`logs, ${kind}`, seed, faultRounds(20), async () => {
        await killAndCheck({ pipeline: logs, maker: logMaker, rounds: Math.ceil(rounds / 4), recordsPerRound: 2000 });
      });
    },
    60_000 + rounds * 60_000,
  );
});
