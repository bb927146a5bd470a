import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';

import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { familyNames } from '../../src/lib/metrics/families.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const kafka = new kafkajs.Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-metrics',
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { retries: 10 },
});
const admin = kafka.admin();
const topic = uniqueTopic('metrics-serve');
const group = uniqueTopic('metrics-serve-group');

beforeAll(async () => {
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }], waitForLeaders: true });
  await topicsEverywhere(loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka, [topic]);
  const producer = kafka.producer();
  await producer.connect();
  const messages = Array.from({ length: 40 }, (_, index) => ({ value: `record ${index}`, partition: index % 2 }));
  await producer.send({ topic, messages });
  await producer.disconnect();
  const partitions = [
    { partition: 0, offset: '5' },
    { partition: 1, offset: '20' },
  ];
  await admin.setOffsets({ groupId: group, topic, partitions });
});

afterAll(async () => {
  await admin.deleteGroups([group]);
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
});

const serveArguments = (...more: readonly string[]) => ['metrics', 'serve', '--config', servers.config, ...more];

describe('kpipe metrics serve', () => {
  test('a scrape has every family, the group’s figures and the brokers; SIGTERM ends it with exit 0', async () => {
    const running = runProgram(
      process.execPath,
      [`${root}bin/run.js`, ...serveArguments('--port', '0', '--interval', '1s', '--group', group)],
      { cwd: root },
    );
    try {
      const [, url = ''] = await running.shows(/metrics on (http:\/\/127\.0\.0\.1:\d+\/metrics)\n/);
      const text = await vi.waitUntil(
        async () => {
          const body = await (await fetch(url)).text();
          return (
            body.includes('kpipe_exporter_up{part="lag"} 1') &&
            body.includes('kpipe_exporter_up{part="brokers"} 1') &&
            body
          );
        },
        { timeout: 120_000, interval: 200 },
      );
      expect(
        familyNames.filter((name) => !text.includes(`# HELP ${name} `) || !text.includes(`# TYPE ${name} `)),
      ).toEqual([]);
      const labels = `role="",group="${group}"`;
      const lines = text.split('\n');
      expect(lines).toContain(`kpipe_group_lag_records{${labels}} 15`);
      expect(lines).toContain(`kpipe_group_partition_lag_records{${labels},topic="${topic}",partition="0"} 15`);
      expect(lines).toContain(`kpipe_group_partition_lag_records{${labels},topic="${topic}",partition="1"} 0`);
      expect(lines).toContain(`kpipe_topic_written_records_total{topic="${topic}"} 40`);
      expect(lines).toContain(`kpipe_group_read_records_total{${labels}} 25`);
      expect(lines.filter((line) => /^kpipe_lag_look_requests [1-9]\d*$/.test(line))).toHaveLength(1);
      expect(lines.filter((line) => /^kpipe_broker_up\{broker="[123]"\} 1$/.test(line))).toHaveLength(3);
      expect(
        lines.filter((line) => line !== '' && !/^(# (HELP|TYPE) |[a-z_]+(\{[^}]*\})? -?[\d.e+-]+$)/.test(line)),
      ).toEqual([]);
      expect((await fetch(url.replace('metrics', 'livez'))).status).toBe(200);
    } finally {
      running.child.kill('SIGTERM');
    }
    expect(await running.ended).toMatchObject({ code: 0, stdout: '' });
  });

  test('a port that is taken is told', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { code, stderr } = await kpipe(serveArguments('--port', String(port)));
    taken.close();
    expect(code).toBe(2);
    expect(stderr).toContain(`KPIPE_USAGE no metrics on 127.0.0.1:${port}: something else listens there`);
  });
});
