/**
 * The whole story: a role consumes into PostgreSQL, a backup is taken, more is consumed, the primary is destroyed, the older
 * backup is restored. The consumer, which ran all the time, follows the database back by itself: in the end each produced
 * record is there, once.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import kafkajs from 'kafkajs';
import { afterAll, expect, inject, test, vi } from 'vitest';

import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { consumeRole } from '../../src/lib/roles/consume.ts';
import { drainingQuietly } from '../support/consume-options.ts';
import { backupDirectory, create, receiving, verify } from '../support/backup-place.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import { kpipe } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');
const { Kafka, logLevel } = kafkajs;
const kafka = new Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-backup',
  logLevel: logLevel.NOTHING,
  retry: { retries: 10 },
});
const cluster = await clusterOfFile();
const directory = await backupDirectory(cluster);
const topic = uniqueTopic('backup-events');
const group = uniqueTopic('backup-group');
const partitions = 3;

afterAll(async () => {
  const admin = kafka.admin();
  await admin.connect();
  await admin.deleteGroups([group]).catch(() => undefined);
  await admin.deleteTopics({ topics: [topic, `${topic}.dlq`, `${topic}.journal`] });
  await admin.disconnect();
});

/** What Kafka said of each record: `partition/offset` → id. */
const journal = new Map<string, string>();

async function produce(from: number, count: number): Promise<void> {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let partition = 0; partition < partitions; partition += 1) {
    const ids = Array.from({ length: count }, (_, index) => `e-${partition}-${from + index}`);
    const messages = ids.map((id) => {
      return {
        partition,
        value: JSON.stringify({ id, type: 'order.placed', data: { orderId: id, status: `s${from}` } }),
      };
    });
    const [answer] = await producer.send({ topic, messages, acks: -1 });
    ids.forEach((id, index) => journal.set(`${partition}/${BigInt(answer!.baseOffset!) + BigInt(index)}`, id));
  }
  await producer.disconnect();
}

const stored = async (): Promise<string[]> => {
  const rows = await cluster.sql<{ place: string; id: string }>(
    `select partition || '/' || kafka_offset as place, id from kpipe.events order by partition, kafka_offset`,
    { database: 'app' },
  );
  return rows.map(({ place, id }) => `${place} ${id}`);
};
const positionsOf = async (): Promise<string[]> => {
  const rows = await cluster.sql<{ next_offset: string }>(
    `select next_offset from kpipe.consumer_offset where role = 'events' order by partition`,
    { database: 'app' },
  );
  return rows.map(({ next_offset }) => next_offset);
};
const produced = (): string[] => [...journal].map(([place, id]) => `${place} ${id}`);
const sorted = (lines: readonly string[]): string[] => lines.toSorted();

test('given a destroyed primary, when an older backup is restored in its place, then the running consumer follows it back: no loss, no double', async () => {
  const more = {
    rest: {
      kafka: { brokers: servers.brokers, journal: `${topic}.journal` },
      topics: {},
      roles: {
        events: {
          topic,
          group,
          deadLetters: `${topic}.dlq`,
          defaultSource: topic,
          batch: { maxRows: 50, maxWait: '50ms' },
          projections: [
            {
              match: { type: 'order.*' },
              table: 'public.orders',
              key: { order_id: { from: 'data.orderId', type: 'text' } },
              columns: { status: { from: 'data.status', type: 'text' } },
            },
          ],
        },
      },
    },
  };
  const config = directory.config(more);
  const file = join(directory.path, 'kpipe.yaml');
  writeFileSync(file, directory.configText(more), { mode: 0o600 });
  const admin = kafka.admin();
  await admin.connect();
  const replicationFactor = Math.min(3, servers.brokers.length);
  await admin.createTopics({
    topics: [
      { topic, numPartitions: partitions, replicationFactor },
      { topic: `${topic}.dlq`, numPartitions: 1, replicationFactor },
    ],
    waitForLeaders: true,
  });
  await admin.disconnect();
  const pool = await openPool(config.postgres!, { applicationName: 'test-backup' });
  await migrate(pool, {
    projections: config.roles.events!.projections,
    logRetentionMs: 86_400_000,
    nowMs: Date.now(),
    planOnly: false,
  });
  await pool.end();

  const stop = new AbortController();
  const options = { ...drainingQuietly, untilDrained: false, signal: stop.signal };
  const consuming = consumeRole(config, 'events', options);
  try {
    // given: 600 records, a backup, 900 more, all of them in the database
    await produce(0, 200);
    await vi.waitFor(async () => expect(await stored()).toHaveLength(600), { timeout: 60_000, interval: 200 });
    const place = directory.place();
    const archive = receiving(place);
    const { id } = await create(place);
    const report = await verify(directory, place);
    expect(report).toMatchObject({ backupId: id, ok: true });
    const [{ lsn }] = (await cluster.sql<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn')) as [
      { lsn: string },
    ];
    await produce(200, 300);
    await vi.waitFor(async () => expect(await stored()).toHaveLength(1500), { timeout: 60_000, interval: 200 });
    await archive.stop();

    // when: the primary is killed and its data deleted; the backup is restored to where it was before the 900
    await cluster.stopStandby();
    await cluster.stopPrimary('SIGKILL');
    rmSync(cluster.data, { recursive: true, force: true });
    const restored = join(cluster.directory, 'restored');
    const result = await restoreBackup(
      place,
      {
        id,
        directory: restored,
        target: { kind: 'lsn', lsn },
        promote: true,
        scratchRoot: directory.scratch,
        environment: process.env,
        signal: new AbortController().signal,
        report: () => undefined,
      },
      () => Promise.resolve(true),
    );
    expect(result.done).toBe(true);
    const positions = result.positions.filter(({ role }) => role === 'events');
    expect(positions.map(({ nextOffset }) => nextOffset)).toEqual(['200', '200', '200']);
    expect(result.gap).toEqual([
      {
        role: 'events',
        partitions: '0:200, 1:200, 2:200',
        positionsFile: `${restored}-positions-events.csv`,
        replay: `kpipe replay events --to file:${restored}-positions-events.csv`,
      },
    ]);
    await cluster.startOn('primary', restored, cluster.primary.port);
    await produce(500, 50);

    // then: every produced record is stored once, at its own place, and the projection is the last event's
    await vi.waitFor(async () => expect(await stored()).toHaveLength(1650), { timeout: 90_000, interval: 300 });
    expect(sorted(await stored())).toEqual(sorted(produced()));
    const orders = await cluster.sql<{ count: string }>(
      `select count(*) from public.orders where status in ('s0', 's200', 's500')`,
      { database: 'app' },
    );
    expect(orders).toEqual([{ count: '1650' }]);
    expect(await positionsOf()).toEqual(['550', '550', '550']);

    // and: the printed replay sets the role back to exactly what was restored; reading it again stores nothing twice
    stop.abort();
    await consuming;
    const printed = result.gap[0]!.replay.split(' ').slice(2);
    const { code, stderr } = await kpipe(['replay', 'apply', ...printed, '--yes', '--config', file], {
      cwd: directory.path,
      env: { ...process.env, XDG_STATE_HOME: join(directory.path, 'state') },
    });
    expect(code, `stderr: ${stderr}`).toBe(0);
    expect(await positionsOf()).toEqual(['200', '200', '200']);
    const again = await consumeRole(config, 'events', {
      ...options,
      untilDrained: true,
      signal: AbortSignal.timeout(90_000),
    });
    expect(again.totals).toMatchObject({ stored: 0, duplicates: 1050, deadLetters: 0 });
    expect(sorted(await stored())).toEqual(sorted(produced()));
    expect(await positionsOf()).toEqual(['550', '550', '550']);
  } finally {
    stop.abort();
    await consuming;
  }
}, 300_000);
