import { describe, expect, test, vi } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import type { OpenTransaction } from '../support/journalled-producer.ts';
import { faultSeed, repeatable, streamOf } from '../support/seeded.ts';
import { uniqueTopic } from '../support/servers.ts';
import { faultSources } from '../support/source-kinds.ts';

const partitions = 3;
const seed = faultSeed();

describe.each(faultSources())('transactions in Kafka, read by $kind', async ({ kind }) => {
  const pipeline = await faultPipeline({ role: 'events', partitions, source: kind });
  const random = streamOf(seed, `${kind} transactions`);
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);
  const transactionalId = uniqueTopic('fault-transaction');

  /** The end of a transaction is acked before its control records are in the logs. */
  const ended = async (transaction: OpenTransaction): Promise<void> => {
    const ends = await vi.waitUntil(
      async () => {
        const found = new Map<number, number>();
        for (const { partition, high } of await pipeline.admin.fetchTopicOffsets(pipeline.topic)) {
          found.set(partition, Number(high));
        }
        const isIn = (partition: number): boolean => (found.get(partition) ?? 0) > producer.acked(partition).length;
        return transaction.partitions.every(isIn) && found;
      },
      { timeout: 90_000, interval: 20 },
    );
    ends.forEach((end, partition) => producer.fillTo(partition, BigInt(end)));
  };
  const begin = (): Promise<OpenTransaction> => producer.openTransaction(transactionalId, 100 + random.below(200));
  const commit = async (): Promise<void> => {
    const transaction = await begin();
    await transaction.commit();
    await ended(transaction);
  };
  const abort = async (): Promise<void> => {
    const transaction = await begin();
    await transaction.abort();
    await ended(transaction);
  };
  const nothingIsLeft = async (): Promise<boolean> => (await pipeline.behind()).length === 0;

  test('aborted ones have no effect, and the role comes to the end behind their control records', async () => {
    await repeatable(`transactions, ${kind}`, seed, 1, async () => {
      // Past the journal's repeats: of an aborted record a repeat would be the first.
      await producer.produce(700);
      const consumer = pipeline.consume();
      for (const step of [commit, abort, abort, commit]) {
        await step();
        await producer.produce(50 + random.below(100));
      }
      await abort();
      await whileRunning([consumer], 'written up to the end, behind an aborted transaction', nothingIsLeft);
      await checker.check();
      await commit();
      await whileRunning([consumer], 'written up to the end, behind a committed one', nothingIsLeft);
      consumer.child.kill('SIGTERM');
      expect(await consumer.ended).toMatchObject({ code: 0 });
      await checker.checkDrained();

      await abort();
      await resultOf(pipeline.consume('--until-drained', '--json'));
      await checker.checkDrained();
    });
  }, 300_000);

  test('an open one holds back what is behind it, and is read when it is committed', async () => {
    await repeatable(`an open transaction, ${kind}`, seed, 1, async () => {
      const before = new Map(
        (await pipeline.admin.fetchTopicOffsets(pipeline.topic)).map(({ partition, high }) => [partition, high]),
      );
      const consumer = pipeline.consume();
      const open = await begin();
      await producer.produce(300);
      await whileRunning([consumer], 'at the open transaction', async () => {
        const commits = await pipeline.admin.fetchOffsets({ groupId: pipeline.group, topics: [pipeline.topic] });
        return commits.every((topic) =>
          topic.partitions.every(({ partition, offset }) => offset === before.get(partition)),
        );
      });
      const { rows } = await pipeline.database.query<{ partition: number; next_offset: string }>(
        'select partition, next_offset from kpipe.consumer_offset where topic = $1',
        [pipeline.topic],
      );
      expect(new Map(rows.map((row) => [row.partition, row.next_offset]))).toEqual(before);
      await open.commit();
      await ended(open);
      await whileRunning([consumer], 'written up to the end', nothingIsLeft);
      consumer.child.kill('SIGTERM');
      expect(await consumer.ended).toMatchObject({ code: 0 });
      await resultOf(pipeline.consume('--until-drained', '--json'));
      await checker.checkDrained();
    });
  }, 300_000);
});
