import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { expect, inject, test } from 'vitest';

import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker } from '../support/fault-records.ts';
import { reconnected, withPostgres } from '../support/own-postgres.ts';
import { clusterOfFile, type TestCluster } from '../support/postgres-cluster.ts';
import type { Running } from '../support/run-kpipe.ts';
import { faultSeed, repeatable, streamOf } from '../support/seeded.ts';
import { smallDisk, type SmallDisk } from '../support/small-disk.ts';

/** PostgreSQL's disk is full under a running role: that of its tables, which fails statements; that of its WAL, which ends it. */
const partitions = 4;
const seed = faultSeed();
const tables = smallDisk(48);
const wal = smallDisk(96);

interface FullDisks {
  readonly tables: SmallDisk;
  readonly wal: SmallDisk;
}

const disks = disksOf();
const setUp = disks === null ? null : await prepare(disks);

test.skipIf(setUp === null)(
  "the tables' disk is full: it waits, blames no record, and goes on when there is room",
  async () => {
    const { checker, producer, started, untilWaiting, endAndCheck } = setUp!;
    await repeatable("the tables' disk is full", seed, 1, async () => {
      const consumer = await started();
      disks!.tables.fill(64 * 1024);
      await untilWaiting(consumer);
      expect(consumer.output()).toMatch(/No space left on device/);
      await checker.check();
      disks!.tables.clear();
      await producer.produce(300);
      await endAndCheck(consumer);
    });
  },
  400_000,
);

test.skipIf(setUp === null)(
  'the disk of the WAL is full: the server ends, and when it has room and runs again, the consumer goes on',
  async () => {
    const { cluster, pipeline, producer, started, untilWaiting, endAndCheck } = setUp!;
    await repeatable('the disk of the WAL is full', seed, 1, async () => {
      const consumer = await started();
      disks!.wal.fill(0);
      await untilWaiting(consumer);
      disks!.wal.clear();
      await cluster.stopPrimary('SIGQUIT');
      await cluster.startPrimary();
      await reconnected(pipeline);
      await producer.produce(300);
      await endAndCheck(consumer);
    });
  },
  400_000,
);

function disksOf(): FullDisks | null {
  if ('missing' in tables || 'missing' in wal) {
    const [why] = [tables, wal].flatMap((disk) => ('missing' in disk ? [disk.missing] : []));
    process.stderr.write(`faults: full disk: skipped, ${why}\n`);
    return null;
  }
  return { tables, wal };
}

async function prepare({ tables: tableDisk, wal: walDisk }: FullDisks) {
  const cluster = await clusterOfFile({ standby: false });
  await moveWal(cluster, walDisk);
  await cluster.sql(`create tablespace small location '${tableDisk.path}'`);
  // What databases are copied from: the role's own is on the small disk then.
  await cluster.sql('alter database template1 set tablespace small');
  const servers = withPostgres(inject('servers'), cluster);
  const pipeline = await faultPipeline({ role: 'events', partitions, servers });
  const random = streamOf(seed, 'disk records');
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);

  const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === producer.sent;
  /** Produces until the consumer says that it waits: what is left of the disk is used up. */
  const untilWaiting = async (consumer: Running): Promise<void> => {
    const isWaiting = (): boolean => consumer.output().includes('waiting:');
    for (let sent = 0; !isWaiting(); sent += 1000) {
      expect(sent).toBeLessThan(30_000);
      await producer.produce(1000);
      const isDone = async (): Promise<boolean> => isWaiting() || (await isAllWritten().catch(() => false));
      await whileRunning([consumer], 'waiting, or all written', isDone, 120_000);
    }
  };
  const endAndCheck = async (consumer: Running): Promise<void> => {
    await whileRunning([consumer], 'all is written', isAllWritten, 120_000);
    consumer.child.kill('SIGTERM');
    expect(await consumer.ended).toMatchObject({ code: 0 });
    await resultOf(pipeline.consume('--until-drained', '--json'));
    await checker.checkDrained();
  };
  const started = async (): Promise<Running> => {
    await producer.produce(1000);
    const consumer = pipeline.consume();
    await whileRunning([consumer], 'all is written', isAllWritten);
    return consumer;
  };

  return { cluster, pipeline, producer, checker, started, untilWaiting, endAndCheck };
}

/** pg_wal on the disk, and no checkpoint that would give segments back for use again. */
async function moveWal(cluster: TestCluster, disk: SmallDisk): Promise<void> {
  await cluster.sql(`alter system set max_wal_size = '1GB'`);
  await cluster.sql(`alter system set min_wal_size = '2MB'`);
  await cluster.stopPrimary();
  const [from, to] = [join(cluster.data, 'pg_wal'), join(disk.path, 'pg_wal')];
  const moved = spawnSync('sh', ['-c', 'cp -a "$0" "$1" && rm -r "$0" && ln -s "$1" "$0"', from, to]);
  expect(moved).toMatchObject({ status: 0 });
  await cluster.startPrimary();
}
