import type { Producer, Transaction } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { KpipeError } from '../../src/lib/errors.ts';
import { AssignmentLostError } from '../../src/lib/ports.ts';
import { startAclBroker } from '../support/acl-broker.ts';
import { codecs } from '../support/record-batches.ts';
import { numbered, sendIn, SourceLab } from '../support/source-lab.ts';
import { faultSeed, streamOf } from '../support/seeded.ts';
import { uniqueTopic } from '../support/servers.ts';
import { sourceKinds } from '../support/source-kinds.ts';
import { byNumber, Ledger, type TestMember } from '../support/source-member.ts';

/**
 * What the port `Source` promises, held by both group protocols on real brokers. After each test the members' own
 * book-keeping is asked too: positions that chain, order, one fetch of a partition at a time (source-member.ts).
 */
const servers = inject('servers');

async function endTransaction(
  { transaction, written }: { transaction: Transaction; written: ReadonlyMap<bigint, string> },
  commit: boolean,
  visible: Map<bigint, string>,
): Promise<void> {
  if (!commit) {
    return transaction.abort();
  }
  await transaction.commit();
  written.forEach((value, offset) => visible.set(offset, value));
}

/** A topic with so many rounds of the same keys. Its cleaning takes the brokers up to 15 s: it begins with the file. */
const compacted = {
  topic: uniqueTopic('contract-compact'),
  keys: 10,
  rounds: 30,
  firstTimestampMs: Date.now() - 3_600_000,
};
beforeAll(async () => {
  const lab = await SourceLab.open('classic', servers.brokers);
  await lab.createTopic(compacted.topic, 1, {
    'cleanup.policy': 'compact',
    'min.cleanable.dirty.ratio': '0',
    'segment.ms': '600000',
  });
  for (let round = 0; round < compacted.rounds; round += 1) {
    // The last batch is so much later that it begins a segment: what lies before it may be cleaned.
    const timestampMs = compacted.firstTimestampMs + (round === compacted.rounds - 1 ? 3_000_000 : round);
    const records = numbered('key', compacted.keys).map((key) => ({
      key: Buffer.from(key),
      value: Buffer.from(`round-${round}`),
      timestampMs,
    }));
    await lab.produceRaw(compacted.topic, records, round % 2 === 0 ? 'none' : 'gzip');
  }
  return () => lab.close();
});

const guardedBroker = startAclBroker();
afterAll(async () => {
  await (await guardedBroker).stop();
});

describe.each(sourceKinds)('source %s', (kind) => {
  let lab: SourceLab;
  beforeAll(async () => {
    lab = await SourceLab.open(kind, servers.brokers);
  });
  afterEach(async () => {
    expect(await lab.endTrials()).toEqual([]);
  });
  afterAll(() => lab.close());

  /** What the member's `run()` failed with. */
  const failureOf = async (member: TestMember): Promise<KpipeError> => {
    const outcome = await member.end();
    if (outcome.kind === 'failed' && outcome.error instanceof KpipeError) {
      return outcome.error;
    }
    throw new Error(`run() ended ${outcome.kind}`, { cause: outcome });
  };

  describe('positions', () => {
    test('reading begins where the listener says: at the start, in the middle, at the end', async () => {
      const trial = await lab.trial(3, { startAt: (partition) => [0n, 50n, 100n][partition] ?? 0n });
      for (const partition of [0, 1, 2]) {
        await lab.produce(trial.topic, partition, numbered('a', 100));
      }
      const member = await trial.join();
      await member.until('assigned', () => member.held.length === 3);
      for (const partition of [0, 1, 2]) {
        await lab.produce(trial.topic, partition, numbered('a', 10, 100));
      }
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(numbered('a', 110));
      expect(trial.ledger.values(1)).toEqual(numbered('a', 60, 50));
      expect(trial.ledger.values(2)).toEqual(numbered('a', 10, 100));
    });

    test('reading may begin at and behind a control record', async () => {
      const trial = await lab.trial(1);
      const producer = await lab.transactional();
      const transaction = await producer.transaction();
      await sendIn(transaction, trial.topic, numbered('a', 5));
      await transaction.commit();
      // 5 is the control record.
      const at = await trial.join({ name: 'at', startAt: () => 5n, ledger: new Ledger(() => 5n) });
      await at.until('assigned', () => at.held.length === 1);
      await lab.produce(trial.topic, 0, ['b']);
      await trial.caughtUp(at, at.ledger);
      expect(at.ledger.values(0)).toEqual(['b']);
      await at.stop();
      const behind = await trial.join({ name: 'behind', startAt: () => 6n, ledger: new Ledger(() => 6n) });
      await trial.caughtUp(behind, behind.ledger);
      expect(behind.ledger.values(0)).toEqual(['b']);
    });

    test('every record is delivered once, in order, over many fetches of several partitions', async () => {
      const trial = await lab.trial(4);
      const text = 'x'.repeat(200);
      for (const partition of [0, 1, 2, 3]) {
        for (let batch = 0; batch < 10; batch += 1) {
          await lab.produce(trial.topic, partition, numbered(text, 100, batch * 100));
        }
      }
      const member = await trial.join({ maxBytesPerPartition: 32_768 });
      await trial.caughtUp(member);
      for (const partition of [0, 1, 2, 3]) {
        expect(trial.ledger.values(partition)).toEqual(numbered(text, 1000));
        const fetches = member.batches.filter((batch) => batch.partition === partition);
        expect(fetches.length).toBeGreaterThan(5);
        expect(fetches.flatMap(({ records }) => records)).toHaveLength(1000);
      }
    });

    test('a batch larger than a fetch may be is delivered all the same', async () => {
      const trial = await lab.trial(1);
      await lab.produce(trial.topic, 0, ['x'.repeat(300_000)]);
      await lab.produce(trial.topic, 0, ['after']);
      const member = await trial.join({ maxBytesPerPartition: 10_000 });
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(['x'.repeat(300_000), 'after']);
      expect(member.batches.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThanOrEqual(300_005);
    });

    test('a partition without room stops no other, and is not delivered again meanwhile', async () => {
      const trial = await lab.trial(6);
      const member = await trial.join();
      await member.until('assigned', () => member.held.length === 6);
      member.hold(2);
      const produceAll = async (from: number): Promise<void> => {
        for (let partition = 0; partition < 6; partition += 1) {
          await lab.produce(trial.topic, partition, numbered('a', 10, from));
        }
      };
      await produceAll(0);
      await member.until('a fetch waits', () => member.isWaiting(2));
      for (let round = 1; round <= 5; round += 1) {
        await produceAll(round * 10);
        await member.until('the others go on', () =>
          [0, 1, 3, 4, 5].every((partition) => trial.ledger.position(partition) === BigInt(round * 10 + 10)),
        );
      }
      expect(member.batches.filter(({ partition }) => partition === 2)).toHaveLength(1);
      member.release(2);
      await trial.caughtUp(member);
      expect(trial.ledger.values(2)).toEqual(numbered('a', 60));
    });

    test('a seek drops what was fetched before it', async () => {
      const trial = await lab.trial(1);
      for (let batch = 0; batch < 20; batch += 1) {
        await lab.produce(trial.topic, 0, numbered('a', 10, batch * 10));
      }
      const member = await trial.join({ maxBytesPerPartition: 300 });
      member.hold(0);
      await member.until('a fetch waits', () => member.isWaiting(0));
      // Back, while a fetch is in hand; forward, while one may be in flight.
      for (const position of [0n, 120n, 35n]) {
        const before = member.batches.length;
        member.seek(trial.partition(0), position);
        member.release(0);
        member.hold(0);
        await member.until('the next fetch', () => member.batches.length > before && member.isWaiting(0));
        expect(member.batches[before]).toMatchObject({ position });
        expect(member.batches[before]?.records[0]?.offset).toBe(position);
      }
      member.release(0);
      await member.until('the end', () => member.batches.at(-1)?.nextPosition === 200n);
    });
  });

  describe('transactions', () => {
    test('an aborted transaction at the beginning has no effect', async () => {
      const trial = await lab.trial(1);
      const producer = await lab.transactional();
      const aborted = await producer.transaction();
      await sendIn(aborted, trial.topic, numbered('aborted', 10));
      await aborted.abort();
      const committed = await producer.transaction();
      await sendIn(committed, trial.topic, numbered('a', 10));
      await committed.commit();
      const member = await trial.join();
      await lab.ended(trial.topic, 22n);
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(numbered('a', 10));
    });

    test('aborted transactions in the middle, larger than a fetch, have no effect', async () => {
      const trial = await lab.trial(1);
      const producer = await lab.transactional();
      const text = 'x'.repeat(500);
      for (let round = 0; round < 4; round += 1) {
        await lab.produce(trial.topic, 0, numbered('before', 3, round * 3));
        const transaction = await producer.transaction();
        for (let batch = 0; batch < 6; batch += 1) {
          await sendIn(transaction, trial.topic, numbered(text, 10));
        }
        await (round % 2 === 0 ? transaction.abort() : transaction.commit());
      }
      const member = await trial.join({ maxBytesPerPartition: 8000 });
      await trial.caughtUp(member);
      const committed = numbered(text, 10);
      expect(trial.ledger.values(0)).toEqual(
        [0, 1, 2, 3].flatMap((round) => [
          ...numbered('before', 3, round * 3),
          ...(round % 2 === 0 ? [] : Array.from({ length: 6 }, () => committed).flat()),
        ]),
      );
    });

    test('of interleaved transactions only the committed ones have effect', async () => {
      const trial = await lab.trial(1);
      const [one, two, three] = [await lab.transactional(), await lab.transactional(), await lab.transactional()];
      const first = await one.transaction();
      const second = await two.transaction();
      const third = await three.transaction();
      await sendIn(first, trial.topic, numbered('first', 3));
      await sendIn(second, trial.topic, numbered('second', 3));
      await lab.produce(trial.topic, 0, numbered('plain', 3));
      await sendIn(third, trial.topic, numbered('third', 3));
      await sendIn(first, trial.topic, numbered('first', 3, 3));
      await second.commit();
      await sendIn(third, trial.topic, numbered('third', 3, 3));
      await first.abort();
      // The producer of the aborted one goes on, and so does what follows it.
      const again = await one.transaction();
      await sendIn(again, trial.topic, numbered('again', 3));
      await third.abort();
      await again.commit();
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual([
        ...numbered('second', 3),
        ...numbered('plain', 3),
        ...numbered('again', 3),
      ]);
    });

    test('the end is reached behind control records and aborted records alone', async () => {
      const trial = await lab.trial(1);
      const producer = await lab.transactional();
      await lab.produce(trial.topic, 0, ['a']);
      for (let round = 0; round < 3; round += 1) {
        const transaction = await producer.transaction();
        await sendIn(transaction, trial.topic, numbered('aborted', 5));
        await transaction.abort();
      }
      const member = await trial.join();
      await lab.ended(trial.topic, 19n);
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(['a']);
      await lab.produce(trial.topic, 0, ['b']);
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(['a', 'b']);
    });

    test('what stands behind an open transaction waits for its end', async () => {
      const trial = await lab.trial(1);
      const producer = await lab.transactional();
      await lab.produce(trial.topic, 0, ['before']);
      const transaction = await producer.transaction();
      await sendIn(transaction, trial.topic, ['inside']);
      await lab.produce(trial.topic, 0, ['behind']);
      const member = await trial.join();
      await member.until('the record before', () => trial.ledger.values(0).length === 1);
      expect(trial.ledger.values(0)).toEqual(['before']);
      await transaction.commit();
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(['before', 'inside', 'behind']);
    });
  });

  describe('any interleaving of transactions', () => {
    const seed = faultSeed();
    test(`has the effect of its commits, wherever reading begins (seed ${seed})`, async () => {
      const random = streamOf(seed, 'transactions');
      const trial = await lab.trial(1);
      /** What each offset says once its transaction is committed; the rest is aborted, or a control record. */
      const visible = new Map<bigint, string>();
      const producers = await Promise.all([1, 2, 3].map(() => lab.transactional()));
      const open = new Map<Producer, { transaction: Transaction; written: Map<bigint, string> }>();
      for (let step = 0; step < 60; step += 1) {
        const values = numbered(`step-${step}`, 1 + random.below(12));
        const producer = random.pick(producers as [Producer, ...Producer[]]);
        const current = open.get(producer);
        if (random.chance(0.15)) {
          const base = await lab.produce(trial.topic, 0, values);
          values.forEach((value, index) => visible.set(base + BigInt(index), value));
        } else if (current === undefined) {
          open.set(producer, { transaction: await producer.transaction(), written: new Map() });
        } else if (random.chance(0.7) || current.written.size === 0) {
          const base = await sendIn(current.transaction, trial.topic, values);
          values.forEach((value, index) => current.written.set(base + BigInt(index), value));
        } else {
          open.delete(producer);
          await endTransaction(current, random.chance(0.5), visible);
        }
      }
      for (const current of open.values()) {
        await endTransaction(current, random.chance(0.5), visible);
      }
      await lab.produce(trial.topic, 0, ['last']).then((offset) => visible.set(offset, 'last'));
      const [end = 0n] = await lab.ends(trial.topic);
      for (const start of [0n, ...[1, 2, 3].map(() => BigInt(random.below(Number(end))))]) {
        const ledger = new Ledger(() => start);
        const member = await trial.join({ ledger, maxBytesPerPartition: 100 + random.below(2000) });
        await trial.caughtUp(member, ledger);
        await member.stop();
        const found = ledger.records(0).map(({ offset, value }) => [offset, value?.toString()]);
        const expected = [...visible]
          .filter(([offset]) => offset >= start)
          .toSorted(([left], [right]) => Number(left - right));
        expect(found, `from ${start}`).toEqual(expected);
      }
    });
  });

  describe('records', () => {
    test('come as they are from every codec', async () => {
      const trial = await lab.trial(1);
      const records = Array.from({ length: 300 }, (_, index) => ({
        key: Buffer.from(`key-${index}`),
        value: Buffer.from(`value-${index}-${'ünïcødé '.repeat(20)}`),
        headers: [['h', Buffer.from([index % 256, 0, 255])]] as const,
        timestampMs: 1_700_000_000_000 + index * 7,
      }));
      for (const codec of codecs) {
        await lab.produceRaw(trial.topic, records, codec);
      }
      const member = await trial.join();
      await trial.caughtUp(member);
      const expected = codecs.flatMap((_, batch) =>
        records.map(({ key, value, headers, timestampMs }, index) => ({
          offset: BigInt(batch * 300 + index),
          key: key.toString('hex'),
          value: value.toString('hex'),
          headers: headers.map(([name, bytes]) => [name, bytes.toString('hex')]),
          timestampMs,
        })),
      );
      expect(
        trial.ledger.records(0).map(({ offset, key, value, headers, timestampMs }) => ({
          offset,
          key: key?.toString('hex'),
          value: value?.toString('hex'),
          headers: headers.map(([name, bytes]) => [name, bytes?.toString('hex')]),
          timestampMs,
        })),
      ).toEqual(expected);
    });

    test('that unpack to more than may be are told as a range, and reading goes on behind them', async () => {
      const trial = await lab.trial(1);
      await lab.produce(trial.topic, 0, numbered('a', 2));
      const large = { value: Buffer.alloc(140_000_000) };
      await lab.produceRaw(trial.topic, [large, { value: Buffer.from('beside it') }], 'zstd');
      await lab.produce(trial.topic, 0, numbered('b', 2));
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual([...numbered('a', 2), ...numbered('b', 2)]);
      const unreadable = member.batches.flatMap((batch) => batch.unreadable ?? []);
      expect(unreadable).toMatchObject([{ firstOffset: 2n, lastOffset: 3n, reason: 'too_large' }]);
    });

    test('may begin in the middle of a compressed batch', async () => {
      const trial = await lab.trial(1, { startAt: () => 7n });
      await lab.produceRaw(
        trial.topic,
        numbered('a', 20).map((value) => ({ value: Buffer.from(value) })),
        'gzip',
      );
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.values(0)).toEqual(numbered('a', 13, 7));
    });

    test("carry the log's time where the topic says so", async () => {
      const trial = await lab.trial(1, { config: { 'message.timestamp.type': 'LogAppendTime' } });
      const began = Date.now();
      for (const codec of ['none', 'gzip'] as const) {
        await lab.produceRaw(trial.topic, [{ timestampMs: 1000 }, { timestampMs: 2000 }], codec);
      }
      const member = await trial.join();
      await trial.caughtUp(member);
      const times = trial.ledger.records(0).map(({ timestampMs }) => timestampMs);
      expect(times).toHaveLength(4);
      expect(times.every((ms) => ms >= began - 60_000 && ms <= Date.now() + 60_000)).toBe(true);
    });

    test('keep null, empty and binary keys and values apart', async () => {
      const trial = await lab.trial(1);
      const [nothing, bytes] = [Buffer.alloc(0), Buffer.from([0, 255, 10])];
      const pairs = [null, nothing, bytes].flatMap((key) => [null, nothing, bytes].map((value) => ({ key, value })));
      await lab.produceRaw(trial.topic, pairs);
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.records(0).map(({ key, value }) => ({ key, value }))).toEqual(pairs);
    });

    test('keep headers of one name in order, with null and empty values', async () => {
      const trial = await lab.trial(1);
      const headers = ['1', '', '2', null, '1'].map(
        (text) => ['again', text === null ? null : Buffer.from(text)] as const,
      );
      await lab.produceRaw(trial.topic, [{ headers }, { headers: [] }]);
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.records(0).map((record) => record.headers)).toEqual([headers, []]);
    });

    test('keep headers of different names in order', async () => {
      const trial = await lab.trial(1);
      const headers = ['b', 'a', '10', '9', 'b', ''].map((name, index) => [name, Buffer.from([index])] as const);
      await lab.produceRaw(trial.topic, [{ headers }]);
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.records(0).map((record) => record.headers)).toEqual([headers]);
    });

    test("keep headers that are named like an object's own", async () => {
      const trial = await lab.trial(1);
      const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '__proto__'];
      const headers = names.map((name, index) => [name, Buffer.from([index])] as const);
      await lab.produceRaw(trial.topic, [{ headers }]);
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.records(0).map((record) => record.headers)).toEqual([headers]);
    });

    const headerCount = 10_000;
    test(`come with ${headerCount} headers`, async () => {
      const trial = await lab.trial(1);
      const headers = Array.from(
        { length: headerCount },
        (_, index) => [`h${index}`, Buffer.from(`${index}`)] as const,
      );
      await lab.produceRaw(trial.topic, [{ headers }, { headers: [] }]);
      const member = await trial.join();
      await trial.caughtUp(member);
      expect(trial.ledger.records(0).map((record) => record.headers)).toEqual([headers, []]);
    });
  });

  describe('commits', () => {
    test('are read back by an admin, with their metadata', async () => {
      const trial = await lab.trial(2);
      const member = await trial.join();
      await member.until('assigned', () => member.held.length === 2);
      await member.assignment(0).commit(5n, 'intent{"stream":"ünïcødé"}');
      await member.assignment(1).commit(7n);
      expect(await lab.admin.committedOffsets(trial.group)).toEqual([
        { topic: trial.topic, partition: 0, offset: 5n, metadata: 'intent{"stream":"ünïcødé"}' },
        { topic: trial.topic, partition: 1, offset: 7n, metadata: '' },
      ]);
      await member.assignment(0).commit(6n);
      expect((await lab.admin.committedOffsets(trial.group))[0]).toMatchObject({ offset: 6n, metadata: '' });
    });

    test('are made after quiesce() too, when nothing is fetched any more', async () => {
      const trial = await lab.trial(2);
      await lab.produce(trial.topic, 0, ['a']);
      const member = await trial.join();
      await trial.caughtUp(member);
      member.source.quiesce();
      const before = member.batches.length;
      await lab.produce(trial.topic, 0, ['b']);
      await lab.produce(trial.topic, 1, ['b']);
      await member.assignment(0).commit(1n);
      // Another group gets both records meanwhile.
      const other = await lab.trial(1);
      await lab.produce(other.topic, 0, ['c']);
      await other.caughtUp(await other.join());
      expect(member.batches.slice(before).flatMap(({ records }) => records)).toEqual([]);
      expect(await lab.admin.committedOffsets(trial.group)).toMatchObject([{ partition: 0, offset: 1n }]);
    });

    test('of a partition that went to another member are refused, and so after stop()', async () => {
      const trial = await lab.trial(4);
      const one = await trial.join();
      await one.until('assigned', () => one.held.length === 4);
      const first = [...one.assignments];
      const two = await trial.join();
      await trial.shared([one, two], 4);
      const moved = first.filter(({ partition }) => two.held.includes(partition));
      expect(moved.length).toBeGreaterThan(0);
      for (const assignment of moved) {
        expect(assignment.active).toBe(false);
        await expect(assignment.commit(1n)).rejects.toBeInstanceOf(AssignmentLostError);
      }
      const last = two.assignment(two.held[0] ?? -1);
      await two.stop();
      expect(last.active).toBe(false);
      await expect(last.commit(1n)).rejects.toBeInstanceOf(AssignmentLostError);
      expect(await lab.admin.committedOffsets(trial.group)).toEqual([]);
    });
  });

  describe('the group', () => {
    test('tells each member of its generation, also one that gets nothing', async () => {
      const trial = await lab.trial(1);
      const one = await trial.join();
      await one.until('assigned', () => one.held.length === 1);
      const two = await trial.join();
      await two.until('joined', () => trial.timeline.some((entry) => entry.member === two.name));
      expect([...one.held, ...two.held]).toEqual([0]);
    });

    test('gives each record one effect while members come and go', async () => {
      const trial = await lab.trial(6);
      const expected = Array.from({ length: 6 }, (): string[] => []);
      let sent = 0;
      const produceSome = async (): Promise<void> => {
        for (const [partition, values] of expected.entries()) {
          const batch = numbered('a', 20, sent);
          sent += 20;
          values.push(...batch);
          await lab.produce(trial.topic, partition, batch);
        }
      };
      const one = await trial.join();
      await produceSome();
      const two = await trial.join();
      await produceSome();
      await trial.shared([one, two], 6);
      const three = await trial.join();
      await produceSome();
      await trial.shared([one, two, three], 6);
      await produceSome();
      await one.stop();
      await produceSome();
      await two.stop();
      await produceSome();
      await trial.caughtUp(three);
      expect(expected.map((_, partition) => trial.ledger.values(partition))).toEqual(expected);
    });

    test('gives a partition to its next owner only when the former has released it', async () => {
      const trial = await lab.trial(4);
      const one = await trial.join();
      await one.until('assigned', () => one.held.length === 4);
      one.holdRevoke();
      const two = await trial.join();
      await one.until('a revoke', () => trial.timeline.some(({ event }) => event === 'revoking'));
      // As long as it takes, the next owner waits; this gives a source that does not wait the time to show it.
      await expect(vi.waitUntil(() => two.held.length > 0, { timeout: 2000, interval: 20 })).rejects.toThrow(
        'Timed out',
      );
      one.endRevoke();
      await trial.shared([one, two], 4);
      const released = trial.timeline.findIndex(({ event }) => event === 'released');
      const taken = trial.timeline.findIndex(({ member, event }) => member === two.name && event === 'assigned');
      expect(taken).toBeGreaterThan(released);
      expect(released).toBeGreaterThan(-1);
    });

    test('takes only the partitions that move', async () => {
      const trial = await lab.trial(6);
      const one = await trial.join();
      await one.until('assigned', () => one.held.length === 6);
      const first = [...one.assignments];
      const two = await trial.join();
      await trial.shared([one, two], 6);
      const stayed = first.filter(({ partition }) => one.held.includes(partition));
      expect(stayed).toHaveLength(3);
      const revoked = trial.timeline
        .filter(({ member, event }) => member === one.name && event === 'revoking')
        .flatMap(({ partitions }) => partitions);
      expect(revoked.toSorted(byNumber)).toEqual(two.held);
      expect(stayed.every(({ active }) => active)).toBe(true);
      expect(one.assignments).toHaveLength(6);
      // Their right to commit lives on in the new generation.
      for (const assignment of stayed) {
        await assignment.commit(0n);
      }
      await two.stop();
      await one.until('all again', () => one.held.length === 6);
      expect(stayed.every(({ active }) => active)).toBe(true);
      expect(one.assignments).toHaveLength(9);
    });

    test('goes on without a member as soon as that has stopped', async () => {
      // The session outlasts the wait: only a member that leaves is gone in time.
      const kafka = { sessionTimeout: '45s' };
      const trial = await lab.trial(4);
      const one = await trial.join({ kafka });
      const two = await trial.join({ kafka });
      await trial.shared([one, two], 4);
      await Promise.all([one.source.stop(), one.source.stop()]);
      await one.source.stop();
      expect(await one.ended).toEqual({ kind: 'done' });
      await two.until('all partitions', () => two.held.length === 4, 40_000);
    });

    test('is left by a member that stops before it has joined', async () => {
      const trial = await lab.trial(2);
      const one = await trial.join();
      await one.source.stop();
      expect(await one.ended).toEqual({ kind: 'done' });
      const two = await trial.join({ kafka: { sessionTimeout: '45s' } });
      await two.until('all partitions', () => two.held.length === 2, 40_000);
    });
  });

  describe('a member', () => {
    test('that is silent for longer than its session loses its partitions, and comes back', async () => {
      const trial = await lab.trial(4);
      const kafka = { sessionTimeout: '6s' };
      await lab.shortenSession(trial.group, 6000);
      lab.patienceMs = 100_000;
      const one = await trial.join({ kafka });
      const frozen = trial.fork(kafka);
      await one.until('a share each', () => one.held.length === 2 && frozen.held.size === 2);
      for (const partition of [0, 1, 2, 3]) {
        await lab.produce(trial.topic, partition, numbered('a', 10));
      }
      await trial.caughtUp(one);
      frozen.freeze();
      for (const partition of [0, 1, 2, 3]) {
        await lab.produce(trial.topic, partition, numbered('a', 10, 10));
      }
      await one.until('all partitions', () => one.held.length === 4);
      await trial.caughtUp(one);
      frozen.wake();
      await one.until('a share each again', () => one.held.length === 2 && frozen.held.size === 2);
      for (const partition of [0, 1, 2, 3]) {
        await lab.produce(trial.topic, partition, numbered('a', 10, 20));
      }
      await trial.caughtUp(one);
      for (const partition of [0, 1, 2, 3]) {
        expect(trial.ledger.values(partition)).toEqual(numbered('a', 30));
      }
      expect(frozen.failure).toBeNull();
    });

    test('with a name of its own restarts without moving a partition', async () => {
      const trial = await lab.trial(6);
      const as = (instanceId: string) => ({ kafka: { instanceId, sessionTimeout: '30s' } });
      const one = await trial.join(as('one'));
      const two = await trial.join(as('two'));
      await trial.shared([one, two], 6);
      const before = one.held;
      await one.stop();
      const told = trial.timeline.length;
      await lab.produce(trial.topic, before[0] ?? -1, ['while it is away']);
      const again = await trial.join({ name: 'one again', ...as('one') });
      await again.until('its partitions', () => again.held.length === before.length);
      await trial.caughtUp(again);
      expect(again.held).toEqual(before);
      expect(trial.ledger.values(before[0] ?? -1)).toEqual(['while it is away']);
      const moves = trial.timeline.slice(told).filter(({ member, event }) => member === two.name && event !== 'joined');
      expect(moves).toEqual([]);
    });

    test('finds the partitions that are added to its topic', async () => {
      const trial = await lab.trial(1);
      const member = await trial.join();
      await member.until('assigned', () => member.held.length === 1);
      await lab.admin.createPartitions(trial.topic, 3);
      await lab.ends(trial.topic, 3);
      await lab.produce(trial.topic, 2, ['a']);
      await member.until('all partitions', () => member.held.length === 3);
      await trial.caughtUp(member);
      expect(trial.ledger.values(2)).toEqual(['a']);
    });
  });

  describe('a compacted log', () => {
    test('is read over its gaps, and from inside them', async () => {
      const { topic, keys, rounds } = compacted;
      const trial = lab.unmade(topic);
      await lab.compactedUp(topic, compacted.firstTimestampMs);
      const member = await trial.join();
      const [end] = await trial.caughtUp(member);
      const found = trial.ledger.records(0);
      expect(end).toBe(BigInt(keys * rounds));
      expect(found.length).toBeLessThan(keys * rounds);
      // What is left is as it was written, and the last of each key is left.
      for (const { offset, key, value } of found) {
        const [round, number] = [Math.floor(Number(offset) / keys), Number(offset) % keys];
        expect([key?.toString(), value?.toString()]).toEqual([`key-${number}`, `round-${round}`]);
      }
      const last = new Map(found.map(({ key, value }) => [key?.toString(), value?.toString()]));
      expect(last).toEqual(new Map(numbered('key', keys).map((key) => [key, `round-${rounds - 1}`])));
      await member.stop();

      const gap = 1n + (found[0]?.offset ?? 0n) / 2n;
      const inside = await lab.unmade(topic).join({ ledger: new Ledger(() => gap), startAt: () => gap });
      await trial.caughtUp(inside, inside.ledger);
      expect(inside.batches[0]?.position).toBe(gap);
      expect(inside.ledger.records(0)).toEqual(found.filter(({ offset }) => offset >= gap));
    });
  });

  describe('run() ends', () => {
    test('when the topic does not exist', async () => {
      const member = await lab.unmade('contract-no-such-topic').join();
      const failure = await failureOf(member);
      expect(failure.message).toContain('contract-no-such-topic');
    });

    test('with what the listener answers an assignment with', async () => {
      const trial = await lab.trial(1);
      const member = await trial.join({
        startAt: () => Promise.reject(new KpipeError('KPIPE_REFUSED', 'no position for it')),
      });
      expect(await failureOf(member)).toMatchObject({ code: 'KPIPE_REFUSED', message: 'no position for it' });
    });

    test('when the position is below the log: records were lost', async () => {
      const trial = await lab.trial(1, { startAt: () => 10n });
      await lab.produce(trial.topic, 0, numbered('a', 100));
      await lab.deleteBefore(trial.topic, 0, 50n);
      const member = await trial.join();
      const failure = await failureOf(member);
      expect(failure.code).toBe('KPIPE_RECORDS_LOST');
      expect(failure.message).toContain('10');
      expect(failure.message).toContain('49');
      expect(trial.ledger.values(0)).toEqual([]);
    });

    test('when the log is deleted under a reader that waited', async () => {
      const trial = await lab.trial(1);
      await lab.produce(trial.topic, 0, numbered('a', 10));
      const member = await trial.join({ maxBytesPerPartition: 200 });
      member.hold(0);
      await member.until('a fetch waits', () => member.isWaiting(0));
      for (let round = 0; round < 5; round += 1) {
        await lab.produce(trial.topic, 0, numbered('b', 100));
      }
      await lab.deleteBefore(trial.topic, 0, 400n);
      member.release(0);
      const failure = await failureOf(member);
      expect(failure.code).toBe('KPIPE_RECORDS_LOST');
      expect(trial.ledger.values(0).slice(0, 10)).toEqual(numbered('a', 10));
    });

    test('when the position is beyond the end of the log', async () => {
      const trial = await lab.trial(1, { startAt: () => 1000n });
      await lab.produce(trial.topic, 0, numbered('a', 10));
      const member = await trial.join();
      expect((await failureOf(member)).code).toBe('KPIPE_RECORDS_LOST');
      expect(trial.ledger.values(0)).toEqual([]);
    });

    test('when the topic is deleted and made again', async () => {
      const trial = await lab.trial(1);
      await lab.produce(trial.topic, 0, numbered('old', 10));
      const member = await trial.join();
      await trial.caughtUp(member);
      await lab.recreate(trial.topic, 1);
      await lab.produce(trial.topic, 0, numbered('new', 20));
      const { code } = await failureOf(member);
      expect(code).toBe('KPIPE_TOPIC_RECREATED');
      expect(trial.ledger.values(0)).toEqual(numbered('old', 10));
    });
  });

  describe('run() ends, on brokers with access control,', () => {
    let guarded: SourceLab;
    beforeAll(async () => {
      // It was started long ago, and may still be on its way.
      const { address } = await guardedBroker;
      guarded = await vi.waitFor(() => SourceLab.open(kind, [address]), { timeout: 150_000, interval: 500 });
    });
    afterEach(async () => {
      expect(await guarded.endTrials()).toEqual([]);
    });
    afterAll(() => guarded.close());

    test.each(['topic', 'group'] as const)('when it may not read the %s', async (what) => {
      const trial = await guarded.trial(1);
      await guarded.produce(trial.topic, 0, ['a']);
      const name = trial[what];
      await guarded.deny(what, name);
      const failure = await failureOf(await trial.join());
      expect(failure.message).toMatch(/authori[sz]/i);
      expect([failure.message, ...Object.values(failure.where)].join(' ')).toContain(name);
      expect(trial.ledger.values(0)).toEqual([]);
    });

    test('when it may not read the topic any more', async () => {
      const trial = await guarded.trial(1);
      await guarded.produce(trial.topic, 0, ['a']);
      const member = await trial.join();
      await trial.caughtUp(member);
      await guarded.deny('topic', trial.topic);
      await guarded.produce(trial.topic, 0, ['b']);
      // A fetch that waited at the broker when the right was taken may still be answered.
      expect((await failureOf(member)).message).toMatch(/authori[sz]/i);
    });
  });
});
