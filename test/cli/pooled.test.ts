/**
 * The command line of a role on a database that is reached through PgBouncer in transaction mode only: migrate, consume,
 * verify, lag, replay (plan, apply, undo, history) and dlq (list, show, redrive), each to its end and with its effect.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { DlqListResult } from '../../src/commands/dlq/list.ts';
import type { DlqRedriveResult } from '../../src/commands/dlq/redrive.ts';
import type { ReplayApplyResult } from '../../src/commands/replay/apply.ts';
import type { ReplayHistoryResult } from '../../src/commands/replay/history.ts';
import { openPublisher, type KafkaPublisher } from '../../src/lib/kafka/publisher.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { replayPipeline } from '../support/replay-pipeline.ts';
import { replicationCluster } from '../support/replication-cluster.ts';

const cluster = replicationCluster();
const primary = await cluster.primary();
await primary.query('create role owner login');
await primary.query('create database pooled owner owner');
const pooler = await startPgBouncer(cluster, primary, ['owner']);
const pipeline = await replayPipeline('events', {
  primary: pooler.url('owner', 'pooled'),
  direct: primary.url('owner', 'pooled'),
});
const { database, run, topic } = pipeline;
let publisher: KafkaPublisher;

beforeAll(async () => {
  publisher = await openPublisher(pipeline.config.kafka);
});
afterAll(() => publisher.close());

/** Runs a command to its end, which must be good, and answers its document. */
async function answer<Document>(...args: readonly string[]): Promise<Document> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect(code, `kpipe ${args.join(' ')}: ${stdout}${stderr}`).toBe(0);
  return JSON.parse(stdout) as Document;
}
const drain = () =>
  answer<{ totals: { stored: number; duplicates: number; deadLetters: number } }>(
    'consume',
    'events',
    '--until-drained',
  );

async function counts(): Promise<unknown> {
  const { rows } = await database.query(
    `select (select count(*)::int from kpipe.events where topic = $1) as events,
            (select count(*)::int from public.paid) as projected,
            array(select next_offset::int from kpipe.consumer_offset where topic = $1 order by partition) as positions`,
    [topic],
  );
  return rows[0];
}

test('given PgBouncer before the database, when a role consumes, then its rows, position, lag and accounts are there', async () => {
  expect((await drain()).totals).toMatchObject({ stored: 90, duplicates: 0, deadLetters: 0 });

  expect(await counts()).toEqual({ events: 90, projected: 90, positions: [60, 30, 0] });
  await answer('verify', 'events', '--deep');
  const lag = await answer<{ roles: readonly { lagRecords: number | null }[] }>('lag');
  expect(lag.roles.map(({ lagRecords }) => lagRecords)).toEqual([0]);
});

test('given it was consumed, when it is replayed, undone and read again, then no row is lost or doubled', async () => {
  const plan = await answer<{ totals: { rereadRecords: number } }>('replay', 'events', '--to', 'earliest');
  expect(plan.totals.rereadRecords).toBe(90);
  expect(await counts()).toMatchObject({ positions: [60, 30, 0] });

  const applied = await answer<ReplayApplyResult>('replay', 'apply', 'events', '--to', 'earliest', '--yes');
  expect(applied.state).toBe('done');
  expect(await counts()).toMatchObject({ positions: [0, 0, 0] });
  const undone = await answer<ReplayApplyResult>('replay', 'undo', '--yes');
  expect(undone.state).toBe('done');
  expect(await counts()).toMatchObject({ positions: [60, 30, 0] });
  await answer('replay', 'apply', 'events', '--to', '10', '--partition', '0', '--partition', '1', '--yes');
  expect((await drain()).totals).toMatchObject({ stored: 0, duplicates: 70 });

  expect(await counts()).toEqual({ events: 90, projected: 90, positions: [60, 30, 0] });
  const { replays } = await answer<ReplayHistoryResult>('replay', 'history');
  expect(replays.map(({ kind, state }) => [kind, state])).toEqual([
    ['replay', 'done'],
    ['undo', 'done'],
    ['replay', 'undone'],
  ]);
  await answer('verify', 'events');
});

test('given a record that the table refuses, when it is buried, redriven and consumed, then it is stored once', async () => {
  await database.query(`alter table public.paid add constraint small check (position < 1000)`);
  const value = Buffer.from(JSON.stringify({ id: 'late', source: '/test', type: 'order.paid', data: { index: 4711 } }));
  await publisher.publish(topic, [{ key: null, value, partition: 2 }]);
  expect((await drain()).totals).toMatchObject({ stored: 0, deadLetters: 1 });
  const listed = await answer<DlqListResult>('dlq', 'list', 'events');
  expect(listed.deadLetters).toMatchObject([{ reason: 'sink_rejected', sqlstate: '23514', state: 'dead' }]);
  await answer('dlq', 'show', 'events', `${topic}/2@0`);

  await database.query('alter table public.paid drop constraint small');
  const redriven = await answer<DlqRedriveResult>('dlq', 'redrive', 'events', '--yes');
  expect(redriven).toMatchObject({ planned: 1, left: 0, notRedriven: [] });
  expect((await drain()).totals).toMatchObject({ stored: 1, deadLetters: 0 });

  // The record, the redriven one, and the marker of the redrive's transaction.
  expect(await counts()).toEqual({ events: 91, projected: 91, positions: [60, 30, 3] });
  await answer('verify', 'events');
});

test('given everything of above, then PgBouncer refused no start-up parameter and missed no prepared statement', () => {
  expect(pooler.log()).not.toMatch(/unsupported startup|prepared statement/i);
});
