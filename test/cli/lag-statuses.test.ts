import { createInterface } from 'node:readline';

import kafkajs, { type Consumer } from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import type { CheckedLagReport } from '../../src/lib/offsets/look.ts';
import { describedPartitions } from '../support/kafka-tools.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

/**
 * Each status of `kpipe lag` by a group that behaves so, and then its figures beside kafka-consumer-groups: with nothing
 * moving the two agree to the record.
 */

const servers = inject('servers');
const { Kafka, logLevel } = kafkajs;
const kafka = new Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-lag-statuses',
  logLevel: logLevel.NOTHING,
  retry: { retries: 10 },
});
const admin = kafka.admin();
const producer = kafka.producer();
const consumers: Consumer[] = [];

/** What each group is up to, and what `kpipe lag` calls it. */
const expected = { stalled: 'stall', stopped: 'stop', rewound: 'rewind', slow: 'warn', idle: 'ok' } as const;
type Behaviour = keyof typeof expected;
const behaviours: readonly Behaviour[] = ['stalled', 'stopped', 'rewound', 'slow', 'idle'];
const mark = uniqueTopic('lag-status');
const topicOf = (behaviour: Behaviour): string => `${mark}-${behaviour}`;
const groupOf = (behaviour: Behaviour): string => `${mark}-group-${behaviour}`;
const first = 100;

function produce(behaviour: Behaviour, count: number): Promise<unknown> {
  const timestamp = String(Date.now() - 3_600_000);
  const messages = Array.from({ length: count }, (_, at) => ({ value: `record ${at}`, timestamp, partition: 0 }));
  return producer.send({ topic: topicOf(behaviour), messages });
}

/** A member that holds its partition and commits only what it is told to. */
async function member(behaviour: Behaviour): Promise<(offset: number) => Promise<void>> {
  const consumer = kafka.consumer({ groupId: groupOf(behaviour) });
  consumers.push(consumer);
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.connect();
  await consumer.subscribe({ topic: topicOf(behaviour), fromBeginning: true });
  await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() });
  await joined;
  return (offset) => consumer.commitOffsets([{ topic: topicOf(behaviour), partition: 0, offset: String(offset) }]);
}

beforeAll(async () => {
  await Promise.all([admin.connect(), producer.connect()]);
  await admin.createTopics({
    waitForLeaders: true,
    topics: behaviours.map((behaviour) => ({ topic: topicOf(behaviour), numPartitions: 1, replicationFactor: 1 })),
  });
  await topicsEverywhere(
    loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka,
    behaviours.map(topicOf),
  );
  await Promise.all(behaviours.map((behaviour) => produce(behaviour, first)));
});

afterAll(async () => {
  await Promise.all(consumers.map((consumer) => consumer.disconnect()));
  await admin.deleteGroups(behaviours.map(groupOf));
  await admin.deleteTopics({ topics: behaviours.map(topicOf) });
  await Promise.all([producer.disconnect(), admin.disconnect()]);
});

const named = behaviours.flatMap((behaviour) => ['--group', groupOf(behaviour)]);

test('a stalled, a stopped, a rewound, a slow and an idle group each get their status', async () => {
  const [stalled, rewound, slow] = [await member('stalled'), await member('rewound'), await member('slow')];
  await Promise.all([stalled(10), rewound(60), slow(10)]);
  const partitions = (offset: number) => [{ partition: 0, offset: String(offset) }];
  await admin.setOffsets({ groupId: groupOf('stopped'), topic: topicOf('stopped'), partitions: partitions(40) });
  await admin.setOffsets({ groupId: groupOf('idle'), topic: topicOf('idle'), partitions: partitions(first) });

  const watching = runProgram(
    process.execPath,
    [`${root}bin/run.js`, 'lag', '--config', servers.config, ...named, '--watch', '--interval', '2s', '--for', '150s'],
    { cwd: root },
  );
  const seen = new Set<string>();
  let looks = 0;
  for await (const line of createInterface({ input: watching.child.stdout })) {
    const { roles } = JSON.parse(line) as CheckedLagReport;
    const statuses = Object.fromEntries(
      behaviours.map((behaviour) => [behaviour, roles.find(({ group }) => group === groupOf(behaviour))?.status]),
    );
    seen.add(JSON.stringify(statuses));
    if (behaviours.every((behaviour) => statuses[behaviour] === expected[behaviour])) {
      watching.child.kill('SIGTERM');
      break;
    }
    looks += 1;
    // It goes back once it was seen further on, and the slow one is handed more than it reads whenever one looks.
    await rewound(10);
    await produce('stalled', 1);
    await produce('slow', 25);
    await slow(10 + looks);
    await produce('slow', 25);
  }
  await watching.ended;
  expect([...seen].at(-1)).toBe(JSON.stringify(expected));

  const { code, stdout } = await kpipe(['lag', '--config', servers.config, ...named, '--for', '0s', '--json']);
  expect(code).toBe(0);
  const figures = (JSON.parse(stdout) as CheckedLagReport).roles.flatMap(({ group, partitions: all }) =>
    all.map(({ topic, partition, position, highWatermark, lagRecords }) =>
      [group, topic, partition, position, highWatermark, lagRecords].join(' '),
    ),
  );
  const oracle = (await describedPartitions(behaviours.map(groupOf))).map(
    ({ group, topic, partition, offset, logEnd, lag }) => [group, topic, partition, offset, logEnd, lag].join(' '),
  );
  expect(figures).toHaveLength(behaviours.length);
  expect(figures.toSorted()).toEqual(oracle.toSorted());
});
