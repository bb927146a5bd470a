import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher, type Delivery } from '../../src/lib/kafka/publisher.ts';
import { openReadBack } from '../../src/lib/kafka/read-back.ts';
import { resetSandbox, sandboxStatus, startSandbox } from '../../src/lib/sandbox/sandbox.ts';

/** Brokers die here: not the ones that the other tests use. */
const directory = mkdtempSync(join(tmpdir(), 'kpipe-broker-kill-'));
const configPath = join(directory, 'kpipe.yaml');
const signal = new AbortController().signal;
const topic = 'killed';
const partitions = [0, 1, 2, 3, 4, 5].map((partition) => ({ topic, partition }));

const up = () =>
  startSandbox(
    { directory, brokers: 3, bigquery: 'off', workingDirectory: directory, configPath, environment: process.env },
    () => undefined,
    signal,
  );

afterAll(async () => {
  await resetSandbox(directory, () => undefined, signal);
  rmSync(directory, { recursive: true, force: true });
});

test('brokers that are killed while it sends cost no acked record, and none is somewhere else than it was said to be', async () => {
  await up();
  const { kafka } = loadConfig({ file: configPath, cwd: '/', env: process.env });
  const admin = await openKafkaAdmin(kafka);
  await admin.createTopic({
    name: topic,
    partitions: partitions.length,
    replicationFactor: 3,
    config: { 'min.insync.replicas': '2' },
  });
  await vi.waitFor(
    async () => expect((await admin.describeTopics([topic]))[0]?.partitions).toHaveLength(partitions.length),
    { timeout: 90_000 },
  );
  const publisher = await openPublisher(kafka, { stallMs: 5000, deliveryTimeoutMs: 90_000 });
  const acked = new Map<string, string>();
  let sent = 0;
  let failed = 0;
  const stop = new AbortController();
  const settle = (values: readonly string[], deliveries: readonly Delivery[]): void => {
    for (const [index, delivery] of deliveries.entries()) {
      if (delivery.kind === 'acked') {
        acked.set(`${delivery.partition}/${delivery.offset}`, values[index] ?? '');
      } else {
        failed += 1;
      }
    }
  };
  const sender = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const values = Array.from({ length: 20 }, () => String((sent += 1)));
      const records = values.map((value) => ({ key: Buffer.from(value), value: Buffer.from(value) }));
      settle(values, await publisher.deliver(topic, records));
    }
  };
  const senders = Promise.all([sender(), sender(), sender(), sender()]);

  for (const name of ['kafka-1', 'kafka-2'] as const) {
    await vi.waitFor(() => expect(acked.size).toBeGreaterThan(2000), { timeout: 120_000 });
    const { servers } = await sandboxStatus(directory);
    const pid = servers.find((server) => server.name === name)?.pid ?? Number.NaN;
    process.kill(pid, 'SIGKILL');
    // It goes on with the two that are left, and has gone on before the third comes back.
    const before = acked.size;
    await vi.waitFor(() => expect(acked.size).toBeGreaterThan(before + 2000), { timeout: 120_000 });
    await up();
    await vi.waitFor(
      async () => {
        const [description] = await admin.describeTopics([topic]);
        expect(description?.partitions.every(({ isr }) => isr.length === 3)).toBe(true);
      },
      { timeout: 120_000, interval: 500 },
    );
  }
  stop.abort();
  await senders;
  await publisher.close();

  const ends = await admin.listOffsets(partitions, 'latest');
  const stored = new Map<string, string>();
  const starts = partitions.map((partition) => ({ ...partition, position: 0n }));
  const readBack = await openReadBack(kafka, 'reader', starts, ({ partition }, { offset, value }) =>
    stored.set(`${partition}/${offset}`, value?.toString() ?? ''),
  );
  await vi.waitFor(() => ends.forEach((end) => expect(readBack.position(end)).toBe(end.offset)), { timeout: 120_000 });
  await readBack.close();
  await admin.close();
  expect(failed).toBe(0);
  expect(acked.size).toBe(sent);
  expect([...acked].filter(([place, value]) => stored.get(place) !== value)).toEqual([]);
});
