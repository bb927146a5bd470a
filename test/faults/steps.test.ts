import { describe, expect, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { resultOf, sumOf } from '../support/consume-result.ts';
import { Holds, writeSteps } from '../support/holds.ts';
import { faultSeed, seeded } from '../support/seeded.ts';

const partitions = 3;
const seed = faultSeed();

describe(`role events, stopped at a chosen step (seed ${seed})`, async () => {
  const pipeline = await faultPipeline({ role: 'events', partitions });
  const random = seeded(seed);
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);
  const holds = await Holds.install(pipeline);

  describe.each(writeSteps)('killed %s', (step) => {
    test('and the server drops its transaction: nothing has happened', async () => {
      const before = await checker.check();
      await producer.produce(300);
      await holds.hold(step);
      const consumer = pipeline.consume();
      const backends = await holds.held(step);
      consumer.child.kill('SIGKILL');
      await consumer.ended;
      await holds.terminate(backends);
      await holds.release(step);
      await holds.backendsGone();

      const after = await checker.check();
      expect(after).toEqual({ ...before, repeatedDeadLetters: after.repeatedDeadLetters });
      await pipeline.members.evictAll();
    });

    test('and the server goes on with what it has: it commits only where it was told to', async () => {
      const before = await checker.check();
      await producer.produce(300);
      await holds.hold(step);
      const consumer = pipeline.consume();
      await holds.held(step);
      consumer.child.kill('SIGKILL');
      await consumer.ended;
      // The next consumer is there before the server knows that the first is dead: its claim waits for the row.
      await pipeline.members.evictAll();
      const next = pipeline.consume('--until-drained', '--json');
      await holds.blocked(next.pid);
      expect((await checker.check()).position).toBe(before.position);
      await holds.release(step);

      const begunAt = sumOf(await resultOf(next), ({ firstOffset }) => BigInt(firstOffset));
      if (step === 'inside COMMIT') {
        expect(begunAt).toBeGreaterThan(before.position);
      } else {
        expect(begunAt).toBe(before.position);
      }
      await checker.checkDrained();
    });
  });

  test('killed after COMMIT and before the mirror: the group is behind, and nothing is read twice', async () => {
    for (let attempt = 1; ; attempt += 1) {
      await producer.produce(1500);
      const before = await standing(pipeline);
      const consumer = pipeline.consume();
      const moved = async (): Promise<boolean> => (await standing(pipeline)).position > before.position;
      await whileRunning([consumer], 'a batch written', moved);
      consumer.child.kill('SIGKILL');
      await consumer.ended;
      await holds.backendsGone();

      const { position } = await checker.check();
      const commits = await pipeline.admin.fetchOffsets({ groupId: pipeline.group, topics: [pipeline.topic] });
      const mirrored = commits
        .flatMap((topic) => topic.partitions)
        .reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
      await pipeline.members.evictAll();
      if (Number(position) > mirrored) {
        break;
      }
      expect(attempt, 'attempts to kill it before the mirror').toBeLessThan(20);
    }
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  });

  test.each(writeSteps)('the backend is terminated %s: the consumer goes on by itself', async (step) => {
    await producer.produce(600);
    await holds.hold(step);
    const consumer = pipeline.consume('--until-drained');
    await holds.terminate(await holds.held(step));
    await holds.release(step);

    const { code, stderr } = await consumer.ended;
    expect(stderr).toContain('waiting: KPIPE_POSTGRES_UNREACHABLE');
    expect(code).toBe(0);
    await checker.checkDrained();
  });
});
