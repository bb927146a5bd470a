import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { PartitionFetcher } from '../../src/lib/kafka/fetch/partition-fetcher.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { resetSandbox, sandboxStatus, startSandbox } from '../../src/lib/sandbox/sandbox.ts';

/** Brokers are frozen here: not the ones that the other tests use. */
const directory = mkdtempSync(join(tmpdir(), 'kpipe-unclean-'));
const configPath = join(directory, 'kpipe.yaml');
const signal = new AbortController().signal;
const topic = 'unclean';
const frozen = new Set<number>();

async function tellBroker(id: number, what: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  const { servers } = await sandboxStatus(directory);
  const pid = servers.find(({ name }) => name === `kafka-${id}`)?.pid;
  if (pid === undefined || pid === null) {
    throw new Error(`broker ${id} does not run`);
  }
  process.kill(pid, what);
  frozen[what === 'SIGSTOP' ? 'add' : 'delete'](pid);
}

afterAll(async () => {
  for (const pid of frozen) {
    process.kill(pid, 'SIGCONT');
  }
  await resetSandbox(directory, () => undefined, signal);
  rmSync(directory, { recursive: true, force: true });
});

test('a log that was cut back under what was read is told exactly, and what replaces it is not delivered', async () => {
  await startSandbox(
    { directory, brokers: 3, bigquery: 'off', workingDirectory: directory, configPath, environment: process.env },
    () => undefined,
    signal,
  );
  const { kafka: config } = loadConfig({ file: configPath, cwd: '/', env: process.env });
  const admin = await openKafkaAdmin(config);
  const keys = { 'unclean.leader.election.enable': 'true', 'min.insync.replicas': '1' };
  await admin.createTopic({ name: topic, partitions: 1, replicationFactor: 2, config: keys });
  const described = async () => (await admin.describeTopics([topic]))[0]!.partitions[0]!;
  const { leader, replicas } = await vi.waitFor(described, { timeout: 90_000 });
  const follower = replicas.find((id) => id !== leader)!;
  const publisher = await openPublisher(config, { stallMs: 5000, deliveryTimeoutMs: 90_000 });
  const send = (name: string, count: number): Promise<void> => {
    const values = Array.from({ length: count }, (_, index) => Buffer.from(`${name}-${index}`));
    return publisher.publish(
      topic,
      values.map((value) => ({ key: null, value })),
    );
  };

  const fetcher = await PartitionFetcher.open(config, {
    topic,
    clientId: 'unclean',
    maxBytesPerPartition: 100_000,
    maxBytes: 100_000,
    minBytes: 1,
    maxWaitMs: 500,
  });
  const values: string[] = [];
  let position = 0n;
  fetcher.add({ topic, partition: 0 }, 0n, ({ records, nextPosition }) => {
    values.push(...[...records].map(({ value }) => String(value)));
    position = nextPosition;
    return Promise.resolve();
  });
  const run = fetcher.run();
  run.catch(() => undefined);

  await send('both', 5);
  await tellBroker(follower, 'SIGSTOP');
  await vi.waitFor(async () => expect((await described()).isr).toEqual([leader]), { timeout: 120_000, interval: 500 });
  await send('one', 5);
  await vi.waitFor(() => expect(position).toBe(10n), { timeout: 90_000 });
  // The only one that has offsets 5 to 9 falls silent, and the other one leads without them.
  await tellBroker(leader, 'SIGSTOP');
  await tellBroker(follower, 'SIGCONT');
  await vi.waitFor(async () => expect((await described()).leader).toBe(follower), { timeout: 90_000, interval: 500 });
  await send('other', 8);

  await expect(run).rejects.toMatchObject({
    code: 'KPIPE_RECORDS_LOST',
    where: { topic, partition: 0, lostFrom: 5n, lostTo: 9n },
  });
  const names = (name: string) => Array.from({ length: 5 }, (_, index) => `${name}-${index}`);
  expect(values).toEqual([...names('both'), ...names('one')]);
  await publisher.close();
  await admin.close();
  await fetcher.close();
});
