import { describe, expect, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf, sumOf } from '../support/consume-result.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { Holds } from '../support/holds.ts';
import { faultSeed, streamOf } from '../support/seeded.ts';

const partitions = 4;
/** More than one fetch brings. */
const recordCount = 30_000;
const seed = faultSeed();

/** Longer than a busy machine needs for what is in hand; and shorter than what is held. */
const drainDeadlines = { long: '150s', short: '5s' } as const;

async function setUp(drainDeadline: string, stream: string) {
  const pipeline = await faultPipeline({ role: 'events', partitions, maxRows: 500, drainDeadline });
  const random = streamOf(seed, stream);
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);
  const holds = await Holds.install(pipeline);
  return { pipeline, producer, checker, holds };
}

describe(`SIGTERM (seed ${seed})`, async () => {
  const { pipeline, producer, checker, holds } = await setUp(drainDeadlines.long, 'shutdown');

  test('finishes the write in hand and drains: exit 0 within the deadline, and the next run begins where this one ended', async () => {
    await producer.produce(recordCount);
    // Held until the signal is on its way, so that it comes in the middle of the backlog.
    await holds.hold('after COPY');
    const consumer = pipeline.consume('--json');
    await holds.held('after COPY');
    consumer.child.kill('SIGTERM');
    await holds.release('after COPY');
    // Exit 0: it was not the deadline that ended it.
    const first = await resultOf(consumer);

    const { position } = await checker.check();
    expect(sumOf(first, ({ nextOffset }) => BigInt(nextOffset))).toBe(position);
    expect(position).toBeGreaterThan(0n);
    expect(position).toBeLessThan(BigInt(recordCount));
    const mirrored = await pipeline.admin.fetchOffsets({ groupId: pipeline.group, topics: [pipeline.topic] });
    expect(mirrored.flatMap((topic) => topic.partitions).reduce((sum, { offset }) => sum + BigInt(offset), 0n)).toBe(
      position,
    );

    const second = await resultOf(pipeline.consume('--until-drained', '--json'));
    const ends = new Map(first.partitions.map(({ partition, nextOffset }) => [partition, nextOffset]));
    expect(second.partitions.map(({ partition, firstOffset }) => [partition, firstOffset])).toEqual([...ends]);
    expect(first.totals.records + second.totals.records).toBe(recordCount);
    const { repeatedDeadLetters } = await checker.checkDrained();
    expect(repeatedDeadLetters).toBe(0);
  });
});

describe(`SIGTERM, and a write that cannot be finished (seed ${seed})`, async () => {
  const { pipeline, producer, checker, holds } = await setUp(drainDeadlines.short, 'shutdown at the deadline');

  test('ends at the deadline when the write in hand cannot be finished: exit 1, and nothing is lost', async () => {
    await producer.produce(400);
    await holds.hold('inside COPY');
    const consumer = pipeline.consume();
    await holds.held('inside COPY');
    consumer.child.kill('SIGTERM');
    // What it waits for is held until it has ended.
    const { code, stderr } = await consumer.ended;
    expect(stderr).toContain('KPIPE_DRAIN_DEADLINE');
    expect(code).toBe(1);
    await holds.release('inside COPY');
    await holds.backendsGone();

    await checker.check();
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  });
});
