import { afterAll, expect, inject, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { faultRounds, faultSeed, repeatable, seeded } from '../support/seeded.ts';
import { startPostgresProxy } from '../support/tcp-proxy.ts';

const partitions = 4;
const cuts = 12;
const seed = faultSeed();
const proxy = await startPostgresProxy(inject('servers').postgres);
afterAll(() => proxy.close());
const pipeline = await faultPipeline({ role: 'events', partitions, postgres: { host: '127.0.0.1', port: proxy.port } });

test('the reply to a COMMIT is lost: the consumer finds out what became of it, and goes on', async () => {
  await repeatable('lost replies', seed, faultRounds(20), async () => {
    const random = seeded(seed);
    const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
    const checker = await DeliveryChecker.open(pipeline, producer);
    await producer.produce(3000);
    const claimCut = proxy.cutNext(/epoch = epoch \+ 1/, 'after COMMIT');

    const consumer = pipeline.consume('--until-drained', '--json');
    const over = consumer.ended.then(({ stderr }) => {
      throw new Error(`the consumer ended before its connection was cut ${cuts} times: ${stderr}`);
    });
    over.catch(() => undefined);
    await Promise.race([claimCut, over]);
    for (let cut = 0; cut < cuts; cut += 1) {
      await Promise.race([proxy.cutNext(/copy kpipe/, cut % 2 === 0 ? 'after COMMIT' : 'before COMMIT'), over]);
      await producer.produce(100 + random.below(200));
    }

    const { totals } = await resultOf(consumer);
    expect(totals.records).toBe(producer.sent);
    expect(totals.stored + totals.duplicates + totals.deadLetters).toBe(producer.sent);
    await checker.checkDrained();
  });
});
