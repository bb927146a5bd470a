import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, test, vi } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { Holds } from '../support/holds.ts';
import type { Running } from '../support/run-kpipe.ts';
import { faultSeed, isLongRun, repeatable, streamOf } from '../support/seeded.ts';
import { faultSources } from '../support/source-kinds.ts';

const partitions = 6;
const seed = faultSeed();
const storm = isLongRun() ? { seconds: 120, everyMs: 5000 } : { seconds: 30, everyMs: 4000 };

describe.each(faultSources())('members of one group that read by $kind', async ({ kind, share }) => {
  const pipeline = await faultPipeline({ role: 'events', partitions, source: kind });
  const make = eventMaker(streamOf(seed, `${kind} records`), partitions);
  const producer = await pipeline.openProducer(streamOf(seed, `${kind} bursts`), make);
  const checker = await DeliveryChecker.open(pipeline, producer);
  const holds = await Holds.install(pipeline);

  const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;
  const endWell = async (...consumers: readonly Running[]): Promise<void> => {
    consumers.forEach(({ child }) => child.kill('SIGTERM'));
    for (const { ended } of consumers) {
      expect(await ended).toMatchObject({ code: 0 });
    }
  };
  const drainAndCheck = async (): Promise<void> => {
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  };
  /** Waits until the group says that so many members share the partitions. */
  const membersAre = (count: number): Promise<void> =>
    vi.waitFor(async () => expect(await pipeline.members.shares()).toHaveLength(count), {
      timeout: 90_000 + pipeline.sessionMs,
      interval: 100,
    });

  test('one is frozen for longer than its session and wakes: it is fenced, and joins again', async () => {
    await repeatable(`frozen, ${kind}`, seed, 1, async () => {
      const [one, frozen] = [pipeline.consume(), pipeline.consume()];
      await producer.produce(1000);
      await whileRunning([one, frozen], 'all is written', isAllWritten);
      await membersAre(2);
      frozen.child.kill('SIGSTOP');
      await producer.produce(1000);
      await whileRunning([one], 'all is written by the other', isAllWritten, 60_000 + pipeline.sessionMs);
      await membersAre(1);
      frozen.child.kill('SIGCONT');
      await membersAre(2);
      await producer.produce(1000);
      await whileRunning([one, frozen], 'all is written by both', isAllWritten);
      await endWell(one, frozen);
      await drainAndCheck();
    });
  }, 300_000);

  test('one cannot finish a write: the partitions of the others go on, also through a rebalance', async () => {
    await repeatable(`slow, ${kind}`, seed, 1, async () => {
      const [one, slow] = [pipeline.consume(), pipeline.consume()];
      await producer.produce(600);
      await whileRunning([one, slow], 'all is written', isAllWritten);
      await membersAre(2);
      await holds.slowDown(slow.pid);
      await producer.produce(600);
      await holds.held('slow process');
      const third = pipeline.consume();
      // The half that the slow one has waits for it, or for its rows' locks; the rest is written to its ends.
      const isOthersWritten = async (): Promise<boolean> => (await pipeline.behind()).length <= partitions / 2;
      await whileRunning([one, slow, third], 'the others have written', isOthersWritten);
      await membersAre(3);
      await producer.produce(600);
      await whileRunning([one, slow, third], 'the others have written again', isOthersWritten);
      await holds.speedUp();
      await whileRunning([one, slow, third], 'all is written', isAllWritten);
      await endWell(one, slow, third);
      await drainAndCheck();
    });
  }, 300_000);

  test(
    'they join and leave all the time: nothing is lost or doubled',
    async () => {
      await repeatable(`storm, ${kind}`, seed, 1, async () => {
        const random = streamOf(seed, `${kind} storm`);
        const end = performance.now() + storm.seconds * 1000 * share;
        const running = [pipeline.consume()];
        let killed = 0;
        let left = 0;
        while (performance.now() < end) {
          const producing = producer.produce(1500);
          running.push(pipeline.consume());
          // The storm's pace is what is tested, not a wait for something.
          await Promise.all([producing, sleep(storm.everyMs)]);
          if (running.length > 2) {
            const [leaver] = running.splice(random.below(running.length), 1);
            if (leaver !== undefined && random.chance(0.3)) {
              leaver.child.kill('SIGKILL');
              await leaver.ended;
              killed += 1;
            } else if (leaver !== undefined) {
              leaver.child.kill('SIGTERM');
              // One that is only starting has no handler for the signal yet.
              const { code, signal, stderr } = await leaver.ended;
              expect([`0 ${stderr}`, `SIGTERM ${stderr}`]).toContain(`${code ?? signal} ${stderr}`);
              left += 1;
            }
          }
          await checker.check();
        }
        await whileRunning(running, 'all is written', isAllWritten, 60_000 + pipeline.sessionMs);
        await endWell(...running);
        await drainAndCheck();
        process.stderr.write(`faults: storm, ${kind}: ${left} members left and ${killed} were killed\n`);
        expect(left + killed).toBeGreaterThan(0);
      });
    },
    300_000 + storm.seconds * 1000,
  );
});
