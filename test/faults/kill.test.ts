import { describe, expect, test } from 'vitest';

import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker, logMaker } from '../support/fault-records.ts';
import { killAndCheck } from '../support/kill-rounds.ts';
import { faultRounds, faultSeed, repeatable } from '../support/seeded.ts';
import { faultSources } from '../support/source-kinds.ts';

const partitions = 4;
const seed = faultSeed();

describe.each(faultSources())('kill -9 at any instant, reading by $kind', async ({ kind, share }) => {
  const events = await faultPipeline({ role: 'events', partitions, source: kind });
  const logs = await faultPipeline({ role: 'logs', partitions, source: kind });
  const rounds = Math.ceil(faultRounds(20) * share);

  test(
    'events: every record has one effect, in the order of its key',
    async () => {
      await repeatable(`events, ${kind}`, seed, faultRounds(20), async () => {
        const done = await killAndCheck({ pipeline: events, maker: eventMaker, seed, rounds, recordsPerRound: 2000 });
        expect(done.stored).toBeGreaterThan(0);
      });
    },
    60_000 + rounds * 60_000,
  );

  test(
    'logs: every record is one line',
    async () => {
      await repeatable(`logs, ${kind}`, seed, faultRounds(20), async () => {
        const quarter = Math.ceil(rounds / 4);
        const done = await killAndCheck({
          pipeline: logs,
          maker: logMaker,
          seed,
          rounds: quarter,
          recordsPerRound: 2000,
        });
        expect(done.stored).toBeGreaterThan(0);
      });
    },
    60_000 + rounds * 60_000,
  );
});
