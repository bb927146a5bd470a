import { afterAll, describe, expect, inject, test } from 'vitest';

import { connectBigQuery } from '../../src/lib/bigquery/connection.ts';
import { readRows } from '../../src/lib/bigquery/warehouse.ts';
import { resultOf } from '../support/consume-result.ts';
import { whileRunning } from '../support/fault-instants.ts';
import { startFakeBigQuery } from '../support/fake-bigquery.ts';
import { faultPipeline, type FaultPipeline } from '../support/fault-pipeline.ts';
import { viewMaker } from '../support/fault-records.ts';
import type { JournalledProducer } from '../support/journalled-producer.ts';
import { faultRounds, faultSeed, repeatable, streamOf } from '../support/seeded.ts';
import type { TopicReader } from '../support/topic-reader.ts';

const partitions = 2;
const recordsPerRound = 400;
const rounds = Math.ceil(faultRounds(20) / 5);
const seed = faultSeed();

interface Commit {
  readonly partition: number;
  readonly position: bigint;
  /** What is being committed in BigQuery: empty between batches. */
  readonly intent: string;
}

async function commits({ admin, group, topic }: FaultPipeline): Promise<readonly Commit[]> {
  const topics = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  return topics.flatMap((entry) =>
    entry.partitions.map(({ partition, offset, metadata }) => ({
      partition,
      position: BigInt(offset) < 0n ? 0n : BigInt(offset),
      intent: metadata ?? '',
    })),
  );
}

/** What the test looks at in BigQuery. */
interface Row {
  readonly partition: number;
  readonly offset: bigint;
  readonly id: string;
  readonly data: string | null;
}

type ReadTable = () => Promise<readonly Row[]>;

/** Every row is of one acked record, once and unchanged; every record below the group's position has its row. */
async function checkWarehouse(
  pipeline: FaultPipeline,
  producer: JournalledProducer,
  table: ReadTable,
): Promise<number> {
  const before = await commits(pipeline);
  const rows = await table();
  const identities = new Set<string>();
  for (const row of rows) {
    const identity = `${row.partition}/${row.offset}`;
    expect(identities, `a row twice: ${identity}`).not.toContain(identity);
    identities.add(identity);
    const meaning = producer.acked(row.partition)[Number(row.offset)]?.meaning;
    const content = { table: 'views', ...(JSON.parse(row.data ?? 'null') as object) };
    expect({ kind: 'stored', id: row.id, content }, `row ${identity}`).toEqual(meaning);
  }
  for (const { partition, position } of before) {
    for (const { offset, meaning } of producer.acked(partition).slice(0, Number(position))) {
      if (meaning.kind === 'stored') {
        expect(identities, `no row of ${partition}/${offset}, below the position ${position}`).toContain(
          `${partition}/${offset}`,
        );
      }
    }
  }
  return rows.length;
}

function checkDeadLetters(reader: TopicReader, producer: JournalledProducer): void {
  const found = reader.records.map(
    ({ headers }) => `${headers.get('__connect.errors.partition')}/${headers.get('__connect.errors.offset')}`,
  );
  const invalid = Array.from({ length: partitions }, (_, partition) => producer.acked(partition))
    .flat()
    .filter(({ meaning }) => meaning.kind === 'dead')
    .map(({ partition, offset }) => `${partition}/${offset}`);
  expect([...new Set(found)].toSorted()).toEqual(invalid.toSorted());
}

function killedAtAnyInstant(pipeline: FaultPipeline, table: ReadTable, write: string): void {
  test(
    'every record is one row, also when it dies between the intent and the commit',
    async () => {
      await repeatable('analytics', seed, faultRounds(20), async () => {
        const make = viewMaker(streamOf(seed, 'analytics records'), partitions);
        const producer = await pipeline.openProducer(streamOf(seed, 'analytics bursts'), make);
        const random = streamOf(seed, 'analytics kills');
        const deadLetters = await pipeline.openReader(pipeline.deadLetterTopic);
        let intents = 0;
        // A kill comes some time after the look that found an intent: further rounds until one has met it.
        let done = 0;
        for (; done < rounds || (intents === 0 && done < rounds + 12); done += 1) {
          const producing = producer.produce(recordsPerRound);
          const before = (await commits(pipeline)).reduce((sum, { position }) => sum + position, 0n);
          const consumer = pipeline.consume();
          const wanted = before + BigInt(random.below(recordsPerRound / 2));
          await whileRunning([consumer], 'an intent', async () => {
            const now = await commits(pipeline);
            return (
              now.some(({ intent }) => intent !== '') && now.reduce((sum, { position }) => sum + position, 0n) >= wanted
            );
          });
          consumer.child.kill('SIGKILL');
          expect(await consumer.ended).toMatchObject({ signal: 'SIGKILL' });
          await producing;
          intents += (await commits(pipeline)).filter(({ intent }) => intent !== '').length;
          await checkWarehouse(pipeline, producer, table);
          await pipeline.members.evictAll();
        }
        expect(intents, 'kills that left an intent').toBeGreaterThan(0);

        await resultOf(pipeline.consume('--until-drained', '--json'));
        const stored = await checkWarehouse(pipeline, producer, table);
        const ends = await pipeline.admin.fetchTopicOffsets(pipeline.topic);
        const positions = new Map((await commits(pipeline)).map(({ partition, position }) => [partition, position]));
        expect(ends.map(({ partition }) => positions.get(partition))).toEqual(ends.map(({ high }) => BigInt(high)));
        await deadLetters.caughtUp();
        checkDeadLetters(deadLetters, producer);
        process.stderr.write(
          `faults: analytics, write: ${write}: ${done} kills left ${intents} intents, ${stored} rows\n`,
        );
      });
    },
    300_000 + rounds * 60_000,
  );
}

describe.skipIf(inject('servers').bigquery === null)('analytics by write streams, killed at any instant', async () => {
  const pipeline = await faultPipeline({ role: 'analytics', partitions, maxRows: 50 });
  const { bigquery } = pipeline.config;
  afterAll(async () => {
    if (bigquery !== undefined) {
      const connection = await connectBigQuery(bigquery);
      await connection.rest.dataset(bigquery.dataset).delete({ force: true });
      await connection.close();
    }
  });
  const table: ReadTable = () =>
    bigquery === undefined ? Promise.resolve([]) : readRows(bigquery, { topic: pipeline.topic }, 1_000_000);
  killedAtAnyInstant(pipeline, table, 'storage');
});

describe('analytics by load jobs, killed at any instant', async () => {
  const fake = await startFakeBigQuery();
  afterAll(() => fake.close());
  // A job runs for some looks, so that kills meet it running too.
  fake.running = 2;
  const pipeline = await faultPipeline({ role: 'analytics', partitions, maxRows: 50, loadEndpoint: fake.endpoint });
  const table: ReadTable = () =>
    Promise.resolve(
      fake.rows.map(({ partition, offset, id, line }) => ({
        partition,
        offset: BigInt(offset),
        id,
        data: JSON.stringify((JSON.parse(line) as { readonly data: unknown }).data),
      })),
    );
  killedAtAnyInstant(pipeline, table, 'load');
});
