import { afterAll, expect, inject, test, vi } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { withPostgres } from '../support/own-postgres.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import { faultSeed, repeatable, streamOf } from '../support/seeded.ts';
import { startPostgresProxy } from '../support/tcp-proxy.ts';

/**
 * A standby that lags is promoted in its primary's place, as a failover does that loses what was not replicated. kpipe's
 * address leads to the new primary then; the consumer, which runs all the time, has to follow the database back.
 */
const partitions = 4;
const seed = faultSeed();
const cluster = await clusterOfFile();
const address = await startPostgresProxy({ host: '127.0.0.1', port: cluster.primary.port });
afterAll(() => address.close());
const servers = withPostgres(inject('servers'), cluster);
const viaAddress = { ...servers, postgres: { ...servers.postgres, port: address.port } };
const pipeline = await faultPipeline({ role: 'events', partitions, servers: viaAddress });
const standby = { port: cluster.standby.port };

test('a lagging standby is promoted: what it had not got is read again, also where nothing more arrives', async () => {
  await repeatable('a lagging standby promoted', seed, 1, async () => {
    const random = streamOf(seed, 'failover records');
    const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
    const checker = await DeliveryChecker.open(pipeline, producer);
    const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;
    await producer.produce(1000 + random.below(1000));
    const consumer = pipeline.consume();
    await whileRunning([consumer], 'all is written', isAllWritten);
    await checker.check();
    await vi.waitUntil(
      async () => {
        const [row] = await cluster.sql<{ level: boolean }>(
          'select bool_and(replay_lsn >= pg_current_wal_lsn()) as level from pg_stat_replication',
        );
        return row?.level === true;
      },
      { timeout: 120_000, interval: 50 },
    );

    // Promotion replays whatever was received, also where replay is paused: the receiver itself must be stopped.
    await cluster.sql(`alter system set primary_conninfo = ''`, standby);
    await cluster.sql('select pg_reload_conf()', standby);
    await vi.waitUntil(async () => (await cluster.sql('select from pg_stat_replication')).length === 0, {
      timeout: 90_000,
      interval: 50,
    });
    await producer.produce(500 + random.below(1000));
    await whileRunning([consumer], 'all is written to the old primary', isAllWritten);
    // The group's commits say so too.
    await vi.waitUntil(
      async () => {
        const commits = await pipeline.admin.fetchOffsets({ groupId: pipeline.group, topics: [pipeline.topic] });
        const told = commits.flatMap(({ partitions: each }) => each.map(({ offset }) => Number(offset)));
        return told.reduce((sum, offset) => sum + Math.max(0, offset), 0) === producer.sent;
      },
      { timeout: 90_000, interval: 100 },
    );

    await cluster.stopPrimary('SIGKILL');
    await cluster.sql('select pg_promote(true, 60)', standby);
    address.leadTo({ host: '127.0.0.1', port: cluster.standby.port });
    await vi.waitFor(() => pipeline.reconnect(), { timeout: 90_000, interval: 100 });
    const lost = producer.sent - Number((await standing(pipeline)).position);
    expect(lost).toBeGreaterThan(0);
    process.stderr.write(`faults: the promoted standby lacks ${lost} of ${producer.sent} records\n`);

    await whileRunning([consumer], 'the lost are written again', isAllWritten, 120_000);
    await checker.check();
    await producer.produce(500);
    await whileRunning([consumer], 'what came after the failover is written', isAllWritten);
    consumer.child.kill('SIGTERM');
    expect(await consumer.ended).toMatchObject({ code: 0 });
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  });
}, 300_000);
