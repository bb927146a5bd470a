import { afterAll, describe, expect, test, vi } from 'vitest';

import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import type { VerifyResult } from '../../src/commands/verify.ts';
import { DeliveryChecker } from '../support/checker.ts';
import { resultOf } from '../support/consume-result.ts';
import { standing, whileRunning } from '../support/fault-instants.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { eventMaker, type EventContent } from '../support/fault-records.ts';
import type { JournalEntry, JournalledProducer } from '../support/journalled-producer.ts';
import { faultSeed, repeatable, streamOf } from '../support/seeded.ts';
import { faultSources } from '../support/source-kinds.ts';

/** The log under a role is not what it was: records are gone before they were read, or the topic is another. */
const partitions = 4;
const seed = faultSeed();

describe.each(faultSources())('a log that is cut, read by $kind', async ({ kind }) => {
  const pipeline = await faultPipeline({ role: 'events', partitions, source: kind });
  const random = streamOf(seed, `${kind} cut`);
  const producer = await pipeline.openProducer(random, eventMaker(random, partitions));
  const checker = await DeliveryChecker.open(pipeline, producer);
  const admin = await openKafkaAdmin(pipeline.config.kafka);
  afterAll(() => admin.close());

  test('records deleted before they were read: the exact range, and on behind it when the operator says so', async () => {
    await repeatable(`a cut log, ${kind}`, seed, 1, async () => {
      // Past the journal's repeats: of a lost record a repeat would be the first.
      await producer.produce(700);
      await resultOf(pipeline.consume('--until-drained', '--json'));
      const read = Array.from({ length: partitions }, (_, partition) => producer.acked(partition).length);
      await producer.produce(900);
      // Of one partition some of what is unread, of another all of it.
      const end = (partition: number): number => producer.acked(partition).length;
      const cuts = [
        { partition: 1, from: read[1]!, to: read[1]! + 1 + random.below(end(1) - read[1]! - 1) },
        { partition: 2, from: read[2]!, to: end(2) },
      ];
      await admin.deleteRecords(
        cuts.map(({ partition, to }) => ({ topic: pipeline.topic, partition, position: BigInt(to) })),
      );

      const ended = await pipeline.consume('--until-drained').ended;
      expect(ended).toMatchObject({ code: 1 });
      expect(ended.stderr).toContain('KPIPE_RECORDS_LOST');
      const told = cuts.filter(({ from, to }) => ended.stderr.includes(`offsets ${from} to ${to - 1} were deleted`));
      expect(told).not.toEqual([]);
      await checker.check();

      cuts.forEach(({ partition, from, to }) => producer.forget(partition, from, to));
      await resultOf(pipeline.consume('--until-drained', '--skip-lost', '--json'));
      await checker.checkDrained();
      const verified = await pipeline.kpipe('verify', 'events', '--deep', '--json');
      expect(verified).toMatchObject({ code: 0 });
      expect(JSON.parse(verified.stdout) as VerifyResult).toMatchObject({ balanced: true });
    });
  }, 300_000);
});

describe.each(faultSources())('a topic that is made again under a role that reads by $kind', async ({ kind }) => {
  const pipeline = await faultPipeline({ role: 'events', partitions, source: kind });
  const random = streamOf(seed, `${kind} made again`);
  // One maker for both topics: ids and the accounts' events go on.
  const make = eventMaker(random, partitions);
  const { topic, admin, database } = pipeline;

  test('it ends and says so, skips nothing of the new one, and begins it when the operator says so', async () => {
    await repeatable(`a topic made again, ${kind}`, seed, 1, async () => {
      const first = await pipeline.openProducer(random, make);
      const checker = await DeliveryChecker.open(pipeline, first);
      await first.produce(1500);
      const consumer = pipeline.consume();
      const isAllWritten = async (): Promise<boolean> => Number((await standing(pipeline)).position) === first.sent;
      await whileRunning([consumer], 'all is written', isAllWritten);
      await checker.check();
      const before = await standing(pipeline);

      await admin.deleteTopics({ topics: [topic] });
      await vi.waitFor(async () => expect(await admin.listTopics()).not.toContain(topic), { timeout: 90_000 });
      await vi.waitFor(() => pipeline.kpipe('topics', 'apply', '--yes').then((done) => expect(done.code).toBe(0)), {
        timeout: 120_000,
      });
      const second = await vi.waitFor(() => pipeline.openProducer(random, make), { timeout: 90_000 });
      await second.produce(600);

      const end = await consumer.ended;
      expect(end).toMatchObject({ code: 1 });
      // Where the cluster took its time to make it again, the topic was missing first.
      expect(end.stderr).toMatch(/KPIPE_TOPIC_(?:RECREATED|MISSING)/);
      const again = await pipeline.consume('--until-drained').ended;
      expect(again).toMatchObject({ code: 1 });
      expect(again.stderr).toContain('KPIPE_TOPIC_RECREATED');
      expect((await standing(pipeline)).position).toBe(before.position);

      await resultOf(pipeline.consume('--until-drained', '--accept-recreated', '--json'));
      expect(Number((await standing(pipeline)).position)).toBe(second.sent);
      const journal = [...journalOf(first), ...journalOf(second)];
      const { rows } = await database.query<{ text: string }>(
        `select concat_ws(' ', id, partition, kafka_offset, data->>'seq', data->>'amount') as text
           from kpipe.events where topic = $1`,
        [topic],
      );
      const expected = journal.flatMap(({ partition, offset, meaning }) => {
        const content = contentOf(meaning);
        return content === null || meaning.kind !== 'stored'
          ? []
          : [[meaning.id, partition, offset, content.seq, content.amount].join(' ')];
      });
      expect(rows.map(({ text }) => text).toSorted()).toEqual(expected.toSorted());
      await checkAccounts(journal);
      await checkDeadLetters(journal);
    });
  }, 300_000);

  /** The last event decides, though its offset is lower than those of the topic before. */
  async function checkAccounts(journal: readonly JournalEntry[]): Promise<void> {
    const accounts = new Map<string, string>();
    for (const { meaning } of journal) {
      const content = contentOf(meaning);
      if (content?.type === 'account.closed') {
        accounts.delete(content.account);
      } else if (content !== null) {
        accounts.set(content.account, [content.account, content.seq, content.amount].join(' '));
      }
    }
    const { rows } = await database.query<{ text: string }>(
      `select concat_ws(' ', account, seq, amount) as text from public.accounts`,
    );
    expect(rows.map(({ text }) => text).toSorted()).toEqual([...accounts.values()].toSorted());
    expect((await database.query('select from public.order_violation where seq < after')).rowCount).toBe(0);
  }

  async function checkDeadLetters(journal: readonly JournalEntry[]): Promise<void> {
    const reader = await pipeline.openReader(pipeline.deadLetterTopic);
    await reader.caughtUp();
    const hashes = reader.records.map(({ valueHash }) => String(valueHash)).toSorted();
    const dead = journal.filter(({ meaning }) => meaning.kind === 'dead');
    expect(hashes).toEqual(dead.map(({ valueHash }) => String(valueHash)).toSorted());
  }
});

function journalOf(producer: JournalledProducer): readonly JournalEntry[] {
  return Array.from({ length: partitions }, (_, partition) => producer.acked(partition)).flat();
}

function contentOf(meaning: JournalEntry['meaning']): EventContent | null {
  return meaning.kind === 'stored' && meaning.content.table === 'events' ? meaning.content : null;
}
