import { describe, expect, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { Holds } from '../support/holds.ts';
import { faultSeed, seeded } from '../support/seeded.ts';

const partitions = 3;
const seed = faultSeed();

describe(`a consumer that froze and lost its partitions (seed ${seed})`, async () => {
  const pipeline = await faultPipeline({ role: 'events', partitions, statementTimeout: '4s' });
  const random = seeded(seed);
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);
  const holds = await Holds.install(pipeline);
  /** One consumer alone, so that the group's commits end where the positions are. */
  const drainAndCheck = async (): Promise<void> => {
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  };
  const allIsWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;

  const stopWhenWritten = async (consumer: ReturnType<typeof pipeline.consume>): Promise<void> => {
    await whileRunning([consumer], 'all is written', allIsWritten);
    consumer.child.kill('SIGTERM');
    expect(await consumer.ended).toMatchObject({ code: 0 });
  };

  test('between its writes: it is fenced when it wakes', async () => {
    await producer.produce(3000);
    const before = await standing(pipeline);
    const zombie = pipeline.consume();
    await whileRunning([zombie], 'a batch written', async () => (await standing(pipeline)).position > before.position);
    zombie.child.kill('SIGSTOP');
    await pipeline.members.evictAll();
    const frozenAt = await standing(pipeline);
    const next = pipeline.consume('--until-drained', '--json');
    // Where it froze inside a transaction after all, the next waits for it.
    const isClaimed = async (): Promise<boolean> => (await standing(pipeline)).epochs > frozenAt.epochs;
    await whileRunning([next], 'a claim', async () => (await isClaimed()) || holds.isBlocked(next.pid));
    zombie.child.kill('SIGCONT');

    await stopWhenWritten(zombie);
    await resultOf(next);
    await drainAndCheck();
  });

  test('inside its transaction, and wakes soon: it may finish, and the next goes on behind it', async () => {
    await producer.produce(1000);
    await holds.hold('inside COPY');
    const zombie = pipeline.consume();
    await holds.held('inside COPY');
    zombie.child.kill('SIGSTOP');
    await pipeline.members.evictAll();
    const next = pipeline.consume('--until-drained', '--json');
    await holds.blocked(next.pid);
    await holds.release('inside COPY');
    zombie.child.kill('SIGCONT');

    await stopWhenWritten(zombie);
    await resultOf(next);
    await drainAndCheck();
  });

  test('inside its transaction, and does not wake: the server ends the transaction, and the next goes on', async () => {
    await producer.produce(1000);
    await holds.hold('after COPY');
    const zombie = pipeline.consume();
    // All of its writes, so that none freezes in a COPY that fails: PostgreSQL 15 arms no timer for what follows that.
    await holds.held('after COPY', partitions);
    zombie.child.kill('SIGSTOP');
    await holds.release('after COPY');
    await pipeline.members.evictAll();
    await drainAndCheck();

    await producer.produce(300);
    zombie.child.kill('SIGCONT');
    await stopWhenWritten(zombie);
    await drainAndCheck();
  });
});
