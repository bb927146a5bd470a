import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, describe, expect, test } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openSource } from '../../src/lib/kafka/open-source.ts';
import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { startOwnServers } from '../support/own-brokers.ts';
import type { Running } from '../support/run-kpipe.ts';
import { faultSeed, isLongRun, repeatable, streamOf } from '../support/seeded.ts';
import { uniqueTopic } from '../support/servers.ts';
import { faultSources } from '../support/source-kinds.ts';

const partitions = 6;
const seed = faultSeed();
/** More than is written before a kill, so that it comes in the middle. */
const backlog = 6000;
const longestOutageMs = isLongRun() ? 300_000 : 20_000;
const own = await startOwnServers();
// Before anything else asks for a coordinator.
const first = await firstMember();

test('a cluster that no group has used yet: the first member waits for its coordinator, and gets its partition', () => {
  expect(first).toEqual({ partition: 0, notices: [] });
});

/** Joins a group of its own with the protocol that it finds right. */
async function firstMember(): Promise<{ readonly partition: number; readonly notices: readonly string[] }> {
  const topic = uniqueTopic('first');
  const text = JSON.stringify({ pipeline: 'test', kafka: { brokers: own.servers.brokers } });
  const { kafka } = parseConfig(text, '/dev/null/kpipe.yaml', {});
  const admin = await openKafkaAdmin(kafka);
  // With a leader whatever broker dies later: kafkajs asks for all topics, and one without fails it.
  await admin.createTopic({ name: topic, partitions: 1, replicationFactor: 3, config: {} });
  await admin.close();
  const notices: string[] = [];
  const source = await openSource(kafka, {
    topic,
    group: topic,
    clientId: 'first',
    maxBytesPerPartition: 1024 * 1024,
    maxWaitMs: 100,
    instanceId: null,
    notice: (notice) => notices.push(notice),
  });
  const assigned = Promise.withResolvers<number>();
  const run = source.run({
    joined: () => undefined,
    assigned: ({ partition }) => {
      assigned.resolve(partition);
      return Promise.resolve(0n);
    },
    fetched: () => Promise.resolve(),
    revoked: () => Promise.resolve(),
  });
  run.catch(assigned.reject);
  const partition = await assigned.promise;
  await source.stop();
  await run;
  return { partition, notices };
}

describe.each(faultSources())('brokers die under consumers that read by $kind', async ({ kind, share }) => {
  const pipeline = await faultPipeline({ role: 'events', partitions, source: kind, servers: own.servers });
  const outageMs = longestOutageMs * share;
  const make = eventMaker(streamOf(seed, `${kind} records`), partitions);
  const producer = await pipeline.openProducer(streamOf(seed, `${kind} bursts`), make);
  const checker = await DeliveryChecker.open(pipeline, producer);

  // What a test that failed left dead.
  afterEach(() => own.revive());

  const coordinator = async (): Promise<number> =>
    1 + own.servers.brokers.indexOf(await pipeline.members.coordinator());
  const leaders = async (): Promise<readonly number[]> => {
    const { topics } = await pipeline.admin.fetchTopicMetadata({ topics: [pipeline.topic] });
    return topics.flatMap((topic) => topic.partitions.map(({ leader }) => leader));
  };
  /** Two consumers in the middle of a backlog. */
  const started = async (): Promise<readonly Running[]> => {
    const before = await standing(pipeline);
    await producer.renew();
    await producer.produce(backlog);
    const consumers = [pipeline.consume(), pipeline.consume()];
    await whileRunning(consumers, 'in the middle of the backlog', async () => {
      const { position } = await standing(pipeline);
      // Where the test is late and all is written already, there is more.
      await producer.produce(position === BigInt(producer.sent) ? backlog : 0);
      return position > before.position + 500n && position < BigInt(producer.sent);
    });
    return consumers;
  };
  const produceMore = async (): Promise<void> => {
    await producer.renew();
    await producer.produce(500);
  };
  const allWritten = async (consumers: readonly Running[], when: string): Promise<void> => {
    const began = performance.now();
    const moved = new Map<number, { position: string; at: number }>();
    let longestMs = 0;
    const isWritten = async (): Promise<boolean> => {
      const { rows } = await pipeline.database.query<{ partition: number; next_offset: string }>(
        'select partition, next_offset from kpipe.consumer_offset where role = $1 and topic = $2',
        [pipeline.role, pipeline.topic],
      );
      const at = performance.now();
      for (const { partition, next_offset: position } of rows) {
        const last = moved.get(partition) ?? { position, at: began };
        if (position !== last.position) {
          longestMs = Math.max(longestMs, at - last.at);
          moved.set(partition, { position, at });
        } else {
          moved.set(partition, last);
        }
      }
      return rows.reduce((sum, row) => sum + Number(row.next_offset), 0) === producer.sent;
    };
    await whileRunning(consumers, `all written ${when}`, isWritten, 120_000).catch(async (error: unknown) => {
      throw new Error(`behind: partitions ${(await pipeline.behind()).join()}; ${String(error)}`, { cause: error });
    });
    const tookMs = Math.round(performance.now() - began);
    process.stderr.write(
      `faults: ${kind}: all written ${when} in ${tookMs} ms, the longest pause of a partition ${Math.round(longestMs)} ms\n`,
    );
  };
  /** The consumers end well, and what they did is right. */
  const ended = async (consumers: readonly Running[]): Promise<void> => {
    consumers.forEach(({ child }) => child.kill('SIGTERM'));
    for (const { ended: end } of consumers) {
      expect(await end).toMatchObject({ code: 0 });
    }
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  };

  // The outage of all takes coordinator and leaders too: it is enough where only a share is asked for.
  test.skipIf(share < 1).each([
    ["the group's coordinator", coordinator],
    ['the leader of a partition', async () => (await leaders())[0] ?? 0],
  ])(
    '%s: they go on without it, and with it again',
    async (what, victim) => {
      await repeatable(`${what} killed, ${kind}`, seed, 1, async () => {
        const consumers = await started();
        const broker = await victim();
        await own.kill(broker);
        await allWritten(consumers, `without broker ${broker}`);
        await produceMore();
        await allWritten(consumers, `that came without broker ${broker}`);
        await own.revive();
        await produceMore();
        await allWritten(consumers, `with broker ${broker} again`);
        await ended(consumers);
      });
    },
    420_000,
  );

  test(
    'all of them: the consumers wait, and go on when they are back',
    async () => {
      await repeatable(`all brokers down, ${kind}`, seed, 1, async () => {
        const consumers = await started();
        await Promise.all([1, 2, 3].map((broker) => own.kill(broker)));
        // The outage's length is what is tested, not a wait for something.
        await Promise.race([sleep(outageMs), ...consumers.map(({ ended: end }) => end)]);
        await own.revive();
        await allWritten(consumers, 'after the outage');
        await produceMore();
        await allWritten(consumers, 'that came after the outage');
        await ended(consumers);
      });
    },
    420_000 + outageMs,
  );
});
