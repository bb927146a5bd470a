import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import type { ThroughputReport } from '../../src/lib/offsets/throughput.ts';
import { kpipe } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const kafka = new kafkajs.Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-throughput',
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { retries: 10 },
});
const admin = kafka.admin();
const producer = kafka.producer();
const topic = uniqueTopic('throughput-cli');

beforeAll(async () => {
  await Promise.all([admin.connect(), producer.connect()]);
  await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1 }], waitForLeaders: true });
  await topicsEverywhere(loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka, [topic]);
});

afterAll(async () => {
  await producer.disconnect();
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
});

const throughput = (...args: readonly string[]) => kpipe(['topics', 'throughput', '--config', servers.config, ...args]);

/** Writes to partition 1 all the time that the command runs. */
async function whileWriting<Result>(running: Promise<Result>): Promise<Result> {
  const over = new AbortController();
  const ended = running.finally(() => over.abort());
  const messages = Array.from({ length: 200 }, (_, index) => ({ value: `record ${index}`.padEnd(200), partition: 1 }));
  while (!over.signal.aborted) {
    await producer.send({ topic, messages });
  }
  return ended;
}

describe('kpipe topics throughput', () => {
  test('records and bytes a second by partition, and the hot one', async () => {
    const { code, stdout } = await whileWriting(throughput(topic, '--for', '3s', '--json'));
    expect(code).toBe(0);
    const { topics, overMs, ...rest } = JSON.parse(stdout) as ThroughputReport;
    expect(Object.keys(rest)).toEqual(['observedAt', 'clusterId', 'groups']);
    expect(overMs).toBeGreaterThan(0);
    expect(topics).toMatchObject([
      {
        topic,
        hot: [1],
        skew: 3,
        partitions: [
          { partition: 0, recordsPerSec: 0, bytesPerSec: 0 },
          { partition: 1 },
          { partition: 2, recordsPerSec: 0, bytesPerSec: 0 },
        ],
      },
    ]);
    const [busy] = topics;
    expect(busy?.recordsPerSec).toBeGreaterThan(0);
    expect(busy?.recordsPerSec).toBe(busy?.partitions[1]?.recordsPerSec);
    // Each record takes more than its 200 bytes of value on disk. Sizes and ends are asked for one after the other.
    expect(busy?.bytesPerSec).toBeGreaterThan(0);
  });

  test('a table for people; every partition with --partitions', async () => {
    const { code, stdout } = await throughput(topic, '--for', '500ms', '--partitions');
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^over [\d.]+(ms|s); bytes as they are stored/);
    expect(lines[1]).toMatch(/^TOPIC +P +LEADER +RECORDS\/s +BYTES\/s +SKEW +HOT/);
    expect(lines[2]).toMatch(new RegExp(`^${topic} +3 +0 +0 B +–`));
    expect(stdout).toMatch(/^ +#2 +[123] +0 +0 B/m);
  });

  test('a topic that does not exist is told', async () => {
    const { code, stderr } = await throughput(`${topic}x`);
    expect(code).toBe(1);
    expect(stderr).toContain(`KPIPE_TOPIC_MISSING there is no topic ${topic}x`);
    expect(stderr).toContain(`did you mean ${topic}?`);
  });
});
