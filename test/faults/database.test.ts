import { setTimeout as sleep } from 'node:timers/promises';

import { expect, inject, test, vi } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { reconnected, withPostgres } from '../support/own-postgres.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import type { Running } from '../support/run-kpipe.ts';
import { faultRounds, faultSeed, isLongRun, repeatable, streamOf } from '../support/seeded.ts';

/** The server under running consumers is killed, taken away and refuses, at seeded instants of their writing. */
const partitions = 4;
const seed = faultSeed();
const cluster = await clusterOfFile({ standby: false });
const pipeline = await faultPipeline({
  role: 'events',
  partitions,
  servers: withPostgres(inject('servers'), cluster),
});
const random = streamOf(seed, 'database records');
const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
const checker = await DeliveryChecker.open(pipeline, producer);

const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;
/** A server that has come back may be slow; a consumer waits up to 5 s between its attempts. */
const allWritten = (consumers: readonly Running[], when: string): Promise<void> =>
  whileRunning(consumers, `all is written ${when}`, isAllWritten, 120_000);

/** A backlog, and a consumer that has written some of it: at least a few records, by chance more. */
async function inTheMiddle(name: string, records: number): Promise<Running> {
  const instants = streamOf(seed, name);
  const before = await standing(pipeline);
  await producer.produce(records);
  const consumer = pipeline.consume();
  const some = before.position + BigInt(1 + instants.below(Math.floor(records / 2)));
  await whileRunning([consumer], `${some} written`, async () => (await standing(pipeline)).position >= some);
  await sleep(instants.below(20));
  return consumer;
}

async function endAndCheck(consumer: Running): Promise<void> {
  consumer.child.kill('SIGTERM');
  expect(await consumer.ended).toMatchObject({ code: 0 });
  await resultOf(pipeline.consume('--until-drained', '--json'));
  await checker.checkDrained();
}

const terminations = Math.ceil(faultRounds(20) / 2);
test(
  'its backends are terminated at random instants, again and again: it goes on by itself',
  async () => {
    await repeatable('backends terminated', seed, faultRounds(20), async () => {
      const instants = streamOf(seed, 'terminations');
      const consumer = pipeline.consume();
      let ended = 0;
      for (let round = 1; round <= terminations; round += 1) {
        const before = await standing(pipeline);
        const producing = producer.produce(600);
        const moved = async (): Promise<boolean> => (await standing(pipeline)).position > before.position;
        await whileRunning([consumer], 'something is written', moved);
        await sleep(instants.below(40));
        const [{ count }] = (await cluster.sql<{ count: number }>(
          `select count(pg_terminate_backend(pid))::int as count from pg_stat_activity
            where application_name like 'kpipe:events:%' and state <> 'idle'`,
        )) as [{ count: number }];
        ended += count;
        await producing;
        await checker.check();
      }
      await allWritten([consumer], 'after the last');
      await endAndCheck(consumer);
      process.stderr.write(`faults: ${ended} busy backends terminated in ${terminations} rounds\n`);
    });
  },
  120_000 + terminations * 15_000,
);

test.each([
  ['the postmaster is killed', 'SIGKILL'],
  ['an immediate shutdown', 'SIGQUIT'],
  ['a fast shutdown', 'SIGINT'],
] as const)(
  '%s in the middle of its writes: it waits through the recovery',
  async (what, how) => {
    await repeatable(what, seed, faultRounds(20), async () => {
      for (let round = 1; round <= (isLongRun() ? 10 : 2); round += 1) {
        const consumer = await inTheMiddle(`${how} ${round}`, 2000);
        await cluster.stopPrimary(how);
        await producer.produce(300);
        await vi.waitUntil(() => consumer.output().includes('waiting: KPIPE_POSTGRES_UNREACHABLE'), {
          timeout: 90_000,
        });
        await cluster.startPrimary();
        await reconnected(pipeline);
        await allWritten([consumer], 'after the recovery');
        await endAndCheck(consumer);
      }
    });
  },
  400_000,
);

test('the server turns read-only, and back: it waits, and no record is blamed', async () => {
  await repeatable('read-only', seed, faultRounds(20), async () => {
    const consumer = await inTheMiddle('read-only', 2000);
    const turn = async (value: 'on' | 'off'): Promise<void> => {
      await cluster.sql(`alter system set default_transaction_read_only = ${value}`);
      await cluster.sql('select pg_reload_conf()');
    };
    await turn('on');
    try {
      await producer.produce(300);
      await vi.waitUntil(() => consumer.output().includes('waiting:'), { timeout: 90_000 });
      expect(consumer.output()).toMatch(/read-only/);
      expect(await isAllWritten()).toBe(false);
    } finally {
      await turn('off');
    }
    await allWritten([consumer], 'after it may be written again');
    await endAndCheck(consumer);
  });
}, 300_000);
