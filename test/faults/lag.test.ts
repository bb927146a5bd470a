import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { loadConfig, type Config } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import type { GroupLag } from '../../src/lib/offsets/lag-report.ts';
import { lookAtLag, type CheckedLagReport } from '../../src/lib/offsets/look.ts';
import { GroupMembers } from '../support/group-members.ts';
import { describedPartitions } from '../support/kafka-tools.ts';
import { startOwnServers } from '../support/own-brokers.ts';

/** `kpipe lag` while a broker is silent, and while it is dead: what that broker knew is named, all the rest stands. */

const own = await startOwnServers();
const { brokers } = own.servers;
const config: Config = loadConfig({ file: own.servers.config, cwd: process.cwd(), env: {} });
const kafka = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING, retry: { retries: 10 } });
const clients = kafka.admin();
const admin = await openKafkaAdmin(config.kafka);
const { signal } = new AbortController();
const lost = 3;

/** Only broker 3 has `alone`; `apart` does without it. */
const topics = [
  { topic: 'alone', replicaAssignment: [{ partition: 0, replicas: [lost] }] },
  { topic: 'apart', replicaAssignment: [{ partition: 0, replicas: [1, 2] }] },
];
const records = 20;
const read = 5;
/** Coordinated by broker 3, and by another. */
let there = '';
let elsewhere = '';

beforeAll(async () => {
  await clients.connect();
  await clients.createTopics({ waitForLeaders: true, topics });
  const producer = kafka.producer();
  await producer.connect();
  for (const { topic } of topics) {
    await producer.send({ topic, messages: Array.from({ length: records }, (_, at) => ({ value: `record ${at}` })) });
  }
  await producer.disconnect();
  for (let number = 0; there === '' || elsewhere === ''; number += 1) {
    const group = `lag-${number}`;
    await admin.commitOffsets(
      group,
      topics.map(({ topic }) => ({ topic, partition: 0, offset: BigInt(read) })),
    );
    const members = await GroupMembers.open(config.kafka, group);
    const coordinator = await members.coordinator();
    await members.close();
    there ||= coordinator === brokers[lost - 1] ? group : '';
    elsewhere ||= coordinator === brokers[lost - 1] ? '' : group;
  }
});

afterAll(async () => {
  await admin.close();
  await clients.disconnect();
});

function look(): Promise<CheckedLagReport> {
  const targets = [there, elsewhere].map((group) => ({
    role: null,
    group,
    topic: null,
    positionsIn: 'group' as const,
  }));
  return lookAtLag(config, targets, { forMs: 0, intervalMs: 500, conditions: [] }, signal);
}

async function lookWhileFrozen(): Promise<CheckedLagReport> {
  await own.freeze(lost);
  try {
    return await look();
  } finally {
    await own.wake(lost);
  }
}

/** A look at which nothing is missing. */
function allIsWell(): Promise<CheckedLagReport> {
  return vi.waitUntil(
    async () => {
      const seen = await look();
      const isWhole = seen.roles.every(({ partitions }) => partitions.every(({ lagRecords }) => lagRecords !== null));
      return seen.notes.length === 0 && isWhole && seen;
    },
    { timeout: 90_000, interval: 500 },
  );
}

const lagOf = (group: GroupLag | undefined, topic: string): readonly [number | null, string | undefined] => {
  const found = group?.partitions.find((partition) => partition.topic === topic);
  return [found?.lagRecords ?? null, found?.unknown['lagRecords']];
};

describe('kpipe lag', { timeout: 300_000 }, () => {
  test('while all is well it says what kafka-consumer-groups says, to the record', async () => {
    const { roles } = await allIsWell();
    const oracle = await describedPartitions([there, elsewhere], brokers);
    const seen = roles.flatMap(({ group, partitions }) =>
      partitions.map(({ topic, position, highWatermark, lagRecords }) =>
        [group, topic, position, highWatermark, lagRecords].join(' '),
      ),
    );
    expect(seen).toHaveLength(4);
    expect(seen.toSorted()).toEqual(
      oracle.map(({ group, topic, offset, logEnd, lag }) => [group, topic, offset, logEnd, lag].join(' ')).toSorted(),
    );
  });

  test('a broker that is silent takes the lag that it knew with it, and no more', async () => {
    // On a machine with other work the brokers that are well may miss the 4 s, too, or the silent one its session: again.
    await vi.waitFor(
      async () => {
        await allIsWell();
        const { roles, notes } = await lookWhileFrozen();
        expect(notes).toEqual([expect.stringMatching(/^broker 3 \(127\.0\.0\.1:\d+\) gave no answer within 4 s$/)]);
        expect(roles[0]).toMatchObject({ group: there, status: 'unknown', reason: notes[0] });
        expect(lagOf(roles[1], 'apart')).toEqual([records - read, undefined]);
        expect(lagOf(roles[1], 'alone')).toEqual([null, notes[0]]);
      },
      { timeout: 180_000, interval: 500 },
    );
    await allIsWell();
  });

  test('a broker that is dead is named at once; its groups go to another, its partitions have no leader', async () => {
    await own.kill(lost);
    const at = await look();
    expect(lagOf(at.roles[1], 'apart')).toEqual([records - read, undefined]);
    expect(lagOf(at.roles[1], 'alone')).toEqual([
      null,
      expect.stringMatching(/^(broker 3 \(127\.0\.0\.1:\d+\) |the partition has no leader$)/),
    ]);
    const settled = await vi.waitUntil(
      async () => {
        const seen = await look();
        return seen.notes.length === 0 && seen.roles[0]?.state === 'Empty' && seen;
      },
      { timeout: 120_000, interval: 500 },
    );
    for (const group of settled.roles) {
      expect(lagOf(group, 'apart')).toEqual([records - read, undefined]);
      expect(lagOf(group, 'alone')).toEqual([null, 'the partition has no leader']);
      expect(group.reason).toContain('partition alone-0: the partition has no leader');
    }
  });
});
