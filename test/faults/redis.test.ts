import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test, vi } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { ownRedis } from '../support/own-redis.ts';
import { faultRounds, faultSeed, repeatable, streamOf } from '../support/seeded.ts';

/** Redis is taken from a role that caches its projected rows. PostgreSQL is right all the time, and the cache soon after. */
const partitions = 4;
const seed = faultSeed();
const redis = await ownRedis();
const pipeline = await faultPipeline({ role: 'events', partitions, redisUrl: redis.url });
const random = streamOf(seed, 'redis records');
const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
const checker = await DeliveryChecker.open(pipeline, producer);
const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;

interface Row {
  readonly account: string;
  readonly kpipe_partition: number;
  readonly kpipe_offset: string;
  readonly seq: string;
  readonly amount: string;
}

/** What of the cache is older than its row, or differs from it, or is of a row that is gone; and how much there is. */
async function staleEntries(): Promise<{ readonly stale: readonly string[]; readonly entries: number }> {
  const { rows } = await pipeline.database.query<Row>(
    'select account, kpipe_partition, kpipe_offset, seq, amount from public.accounts',
  );
  const byAccount = new Map(rows.map((row) => [row.account, row]));
  const prefix = 'kpipe:entity:v1:accounts:';
  const keys = await redis.client.keys(`${prefix}*`);
  const stale: string[] = [];
  for (const key of keys) {
    const { p, o, row: text } = await redis.client.hgetall(key);
    const row = byAccount.get(key.slice(prefix.length));
    const found = text === undefined || text === '' ? null : (JSON.parse(text) as Record<string, string>);
    const cached = found === null ? 'deleted' : `${p}/${o} seq ${found['seq']} amount ${found['amount']}`;
    const stored =
      row === undefined ? 'deleted' : `${row.kpipe_partition}/${row.kpipe_offset} seq ${row.seq} amount ${row.amount}`;
    if (cached !== stored) {
      stale.push(`${key} is ${cached} and its row ${stored}`);
    }
  }
  return { stale, entries: keys.length };
}

/** Nothing arrives meanwhile: what was missed is made up without a next batch. */
async function cacheIsRight(): Promise<number> {
  let entries = 0;
  await vi.waitFor(
    async () => {
      const found = await staleEntries();
      entries = found.entries;
      expect(found.stale).toEqual([]);
    },
    { timeout: 90_000, interval: 200 },
  );
  return entries;
}

const faults = {
  'frozen and woken': async (pause: () => Promise<void>) => {
    redis.freeze();
    await pause();
    redis.thaw();
  },
  'killed and started again, empty': async (pause: () => Promise<void>) => {
    await redis.kill();
    await pause();
    await redis.start();
  },
  'killed and started again with an old snapshot': async (pause: () => Promise<void>) => {
    await redis.client.save();
    await pause();
    // Nothing is missed while it is down: only the snapshot is wrong.
    await redis.kill();
    await redis.start();
  },
  emptied: async (pause: () => Promise<void>) => {
    await pause();
    await redis.client.flushall();
  },
} satisfies Record<string, (pause: () => Promise<void>) => Promise<void>>;

const rounds = Math.ceil(faultRounds(20) / 20);

test(
  'frozen, killed, emptied, back with an old snapshot: no batch waits, and no entry stays older than its row',
  async () => {
    await repeatable('Redis', seed, faultRounds(20), async () => {
      const instants = streamOf(seed, 'redis faults');
      const consumer = pipeline.consume();
      await producer.produce(500);
      await whileRunning([consumer], 'all is written', isAllWritten);
      expect(await cacheIsRight()).toBeGreaterThan(0);
      for (let round = 1; round <= rounds; round += 1) {
        for (const [name, fault] of Object.entries(faults)) {
          const producing = (async () => {
            await producer.produce(800);
          })();
          await sleep(instants.below(200));
          await fault(async () => {
            await producing;
            await producer.produce(200 + instants.below(400));
            await whileRunning([consumer], `all is written with Redis ${name}`, isAllWritten);
          });
          await whileRunning([consumer], 'all is written', isAllWritten);
          await cacheIsRight();
          await checker.check();
          // It goes on caching.
          const isCached = async (): Promise<boolean> => {
            const { entries } = await staleEntries();
            await producer.produce(entries === 0 ? 20 : 0);
            return entries > 0;
          };
          await whileRunning([consumer], 'cached again', isCached);
          await whileRunning([consumer], 'all is written', isAllWritten);
          const entries = await cacheIsRight();
          process.stderr.write(`faults: Redis ${name}: ${entries} entries, each as its row\n`);
        }
      }
      expect(consumer.output()).not.toContain('waiting:');
      consumer.child.kill('SIGTERM');
      expect(await consumer.ended).toMatchObject({ code: 0 });
      await resultOf(pipeline.consume('--until-drained', '--json'));
      await checker.checkDrained();
    });
  },
  120_000 + rounds * 240_000,
);
