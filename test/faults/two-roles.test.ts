import { expect, test } from 'vitest';

import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker, logMaker } from '../support/fault-records.ts';
import { killAndCheck } from '../support/kill-rounds.ts';
import { faultRounds, faultSeed, repeatable } from '../support/seeded.ts';
import { createDatabase } from '../support/servers.ts';

const partitions = 4;
const seed = faultSeed();
const rounds = Math.ceil(faultRounds(20) / 4);
const database = await createDatabase();
const events = await faultPipeline({ role: 'events', partitions, database });
const logs = await faultPipeline({ role: 'logs', partitions, database });

test(
  'two roles in one database, both killed at any instant: each has its own positions, and neither holds up the other',
  async () => {
    await repeatable('two roles', seed, faultRounds(20), async () => {
      const run = { seed, rounds, recordsPerRound: 1500 };
      const done = await Promise.all([
        killAndCheck({ pipeline: events, maker: eventMaker, ...run }),
        killAndCheck({ pipeline: logs, maker: logMaker, ...run }),
      ]);
      expect(done.every(({ stored }) => stored > 0)).toBe(true);
      const { rows } = await events.database.query<{ role: string; partitions: number }>(
        'select role, count(*)::int as partitions from kpipe.consumer_offset group by role order by role',
      );
      expect(rows).toEqual([
        { role: 'events', partitions },
        { role: 'logs', partitions },
      ]);
    });
  },
  60_000 + rounds * 60_000,
);
