import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { loadConfig, type Config } from '../../src/lib/config/load.ts';
import type { BrokerReport } from '../../src/lib/health/broker-report.ts';
import { lookAtCluster } from '../../src/lib/health/watch-cluster.ts';
import { ClusterObserver } from '../../src/lib/kafka/cluster-observer.ts';
import { tool } from '../support/kafka-tools.ts';
import { startOwnServers } from '../support/own-brokers.ts';

/** `kpipe brokers` beside Kafka's own tools, while all is well and with a broker dead. */

const own = await startOwnServers();
const { brokers } = own.servers;
const config: Config = loadConfig({ file: own.servers.config, cwd: process.cwd(), env: {} });
const kafka = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING, retry: { retries: 10 } });
const admin = kafka.admin();
const { signal } = new AbortController();

const look = (): Promise<BrokerReport> => lookAtCluster(config, { forMs: 0, conditions: [] }, signal);

/** Topics and their replicas, the first of them preferred: broker 3 leads `alone`, and is the last in sync of nothing else. */
const topics = [
  { topic: 'strict', replicaAssignment: [{ partition: 0, replicas: [1, 2, 3] }], min: '3' },
  { topic: 'tight', replicaAssignment: [{ partition: 0, replicas: [3, 1, 2] }], min: '2' },
  { topic: 'loose', replicaAssignment: [{ partition: 0, replicas: [2, 3] }], min: '1' },
  { topic: 'wide', replicaAssignment: [{ partition: 0, replicas: [1, 2, 3] }], min: '1' },
  { topic: 'alone', replicaAssignment: [{ partition: 0, replicas: [3] }], min: '1' },
  { topic: 'apart', replicaAssignment: [{ partition: 0, replicas: [1, 2] }], min: '1' },
];
const mine = new Set(topics.map(({ topic }) => topic));

beforeAll(async () => {
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: true,
    topics: topics.map(({ topic, replicaAssignment, min }) => ({
      topic,
      replicaAssignment,
      configEntries: [{ name: 'min.insync.replicas', value: min }],
    })),
  });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'apart', messages: Array.from({ length: 50 }, (_, at) => ({ value: `record ${at}` })) });
  await producer.disconnect();
});

afterAll(() => admin.disconnect());

/** `TOPIC-PARTITION` of what kafka-topics lists under a filter, of this test's topics. */
async function listed(filter: string, at: readonly string[]): Promise<readonly string[]> {
  const { stdout, code, stderr } = await tool('org.apache.kafka.tools.TopicCommand', ['--describe', filter], at).ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return [...stdout.matchAll(/Topic: (\S+)\s+Partition: (\d+)/g)]
    .map(([, topic, partition]) => `${topic}-${partition}`)
    .filter((name) => mine.has(name.replace(/-\d+$/, '')))
    .toSorted();
}

/** The same of the report. */
function told(report: BrokerReport, ...codes: readonly string[]): readonly string[] {
  return report.problems
    .filter(({ code }) => codes.includes(code))
    .flatMap(({ detail }) => detail.split(', '))
    .filter((name) => mine.has(name.replace(/-\d+$/, '')))
    .toSorted();
}

describe('kpipe brokers beside Kafka’s own tools', { timeout: 300_000 }, () => {
  test('controller, voters and sizes are what kafka-metadata-quorum and kafka-log-dirs say', async () => {
    const report = await look();
    const quorum = await tool('org.apache.kafka.tools.MetadataQuorumCommand', ['describe', '--status'], brokers).ended;
    expect(quorum.stdout).toMatch(new RegExp(`^ClusterId:\\s+${report.clusterId}$`, 'm'));
    expect(quorum.stdout).toMatch(new RegExp(`^LeaderId:\\s+${report.controller.leader}$`, 'm'));
    expect(quorum.stdout).toMatch(new RegExp(`^LeaderEpoch:\\s+${report.controller.epoch}$`, 'm'));
    expect(report.controller.voters.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(report.problems.filter(({ level }) => level === 'fail')).toEqual([]);

    const dirs = await tool('org.apache.kafka.tools.LogDirsCommand', ['--describe', '--topic-list', 'apart'], brokers)
      .ended;
    const document = JSON.parse(dirs.stdout.split('\n').find((line) => line.startsWith('{')) ?? '') as {
      readonly brokers: readonly {
        broker: number;
        logDirs: readonly { logDir: string; partitions: readonly { size: number }[] }[];
      }[];
    };
    const observer = await ClusterObserver.open(config.kafka, 10_000, Date.now);
    const seen = await observer.observe();
    await observer.close();
    const sizes = seen.brokers.map(({ id, logDirectories }) => ({
      broker: id,
      logDirs: (logDirectories ?? []).map(({ path, replicas }) => ({
        logDir: path,
        partitions: replicas.filter(({ topic }) => topic === 'apart').map(({ bytes }) => bytes),
      })),
    }));
    expect(sizes).toEqual(
      document.brokers
        .toSorted((left, right) => left.broker - right.broker)
        .map(({ broker, logDirs }) => ({
          broker,
          logDirs: logDirs.map(({ logDir, partitions }) => ({
            logDir,
            partitions: partitions.map(({ size }) => size),
          })),
        })),
    );
    expect(sizes.map(({ logDirs }) => logDirs[0]?.partitions.length)).toEqual([1, 1, 0]);
  });

  test('with a broker dead: what is offline, below its minimum, under-replicated, and who is down', async () => {
    await own.kill(3);
    const report = await vi.waitUntil(
      async () => {
        const seen = await look();
        return seen.brokers.find(({ id }) => id === 3)?.state === 'down' && told(seen, 'OFFLINE').length > 0 && seen;
      },
      { timeout: 120_000, interval: 500 },
    );
    const left = brokers.slice(0, 2);
    expect(told(report, 'OFFLINE')).toEqual(['alone-0']);
    expect(told(report, 'UNDER_MIN_ISR')).toEqual(['strict-0']);
    expect(told(report, 'AT_MIN_ISR')).toEqual(['loose-0', 'tight-0']);
    expect(told(report, 'UNDER_REPLICATED')).toEqual(['wide-0']);
    expect(await listed('--unavailable-partitions', left)).toEqual(told(report, 'OFFLINE'));
    expect(await listed('--under-replicated-partitions', left)).toEqual(
      told(report, 'OFFLINE', 'UNDER_MIN_ISR', 'AT_MIN_ISR', 'UNDER_REPLICATED'),
    );
    expect(await listed('--under-min-isr-partitions', left)).toEqual(told(report, 'OFFLINE', 'UNDER_MIN_ISR'));
    expect(await listed('--at-min-isr-partitions', left)).toEqual(told(report, 'AT_MIN_ISR'));
    expect(report.problems.map(({ code }) => code)).toEqual(expect.arrayContaining(['BROKER_DOWN', 'OFFLINE']));
    expect(report.ok).toBe(false);
  });

  test('when it is back nothing is left but leaders to elect', async () => {
    await own.revive();
    await vi.waitUntil(
      async () => {
        const { partitions, brokers: lines } = await look();
        return partitions.offline + partitions.underReplicated === 0 && lines.every(({ state }) => state === 'up');
      },
      { timeout: 120_000, interval: 500 },
    );
  });
});
