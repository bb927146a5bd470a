import { describe, expect, inject, test, vi } from 'vitest';

import type { OutgoingRecord } from '../../src/lib/ports.ts';
import { openReplayPositions } from '../../src/lib/postgres/replay-positions.ts';
import type { VerifyResult } from '../../src/lib/verify/verify.ts';
import { verifyRole } from '../../src/lib/verify/verify-role.ts';
import { rolePipelines, type RolePipeline } from '../support/role-pipeline.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

/** What a role has stored balances; each of the corruptions that can be made behind its back is found, with its offsets. */
const pipelines = await rolePipelines();
const { query } = pipelines;
const batch = { maxRows: 20, maxWait: '50ms' };

function verified(role: RolePipeline, deep = false): Promise<VerifyResult> {
  return verifyRole(role.config, role.role, {
    deep,
    signal: new AbortController().signal,
    now: Date.now,
    onProgress: () => undefined,
  });
}

const found = (result: VerifyResult): unknown[] =>
  result.findings.map(({ kind, partition, records, offsets }) => [kind, partition, records, offsets.join(',')]);

const event = (partition: number, id: string, more: object = {}): OutgoingRecord => ({
  partition,
  key: Buffer.from(id),
  value: Buffer.from(
    JSON.stringify({ id, type: 'page.viewed', time: '2026-11-01T12:00:00Z', data: { id, n: 1.1 }, ...more }),
  ),
});

/** 60 events a partition; offsets 7 and 41 are dead, 50 repeats 3. Everything is stored. */
async function filled(role: 'events' | 'logs' = 'events'): Promise<RolePipeline> {
  const made = await pipelines.open({ role, partitions: 2, settings: { batch } });
  const line = (partition: number, index: number): OutgoingRecord => ({
    partition,
    key: null,
    value: [7, 41].includes(index)
      ? Buffer.from('{broken')
      : Buffer.from(JSON.stringify({ message: `line ${index}`, level: 'warn', service: 'shop', index })),
  });
  const of = (partition: number, index: number): OutgoingRecord =>
    [7, 41].includes(index)
      ? { partition, key: null, value: Buffer.from('{broken') }
      : event(partition, `${partition}-${index === 50 ? 3 : index}`, index === 50 ? { data: 'said again' } : {});
  const records = [0, 1].flatMap((partition) =>
    Array.from({ length: 60 }, (_, index) => (role === 'logs' ? line(partition, index) : of(partition, index))),
  );
  await made.send(records);
  await made.consume();
  return made;
}

describe('a role that did its work', () => {
  test('balances: rows, repeats, dead letters, in the counts and offset by offset', async () => {
    const role = await filled();
    const result = await verified(role, true);
    expect(result).toMatchObject({ balanced: true, findings: [], notes: [] });
    const account = {
      firstOffset: 0n,
      nextOffset: 60n,
      stored: 57,
      duplicates: 1,
      deadLetters: 2,
      skipped: 0,
      gaps: 0,
    };
    expect(result.stretches).toEqual(
      [0, 1].map((partition) => ({
        ...account,
        partition,
        rereads: 0,
        endedBy: null,
        rows: 57,
        buried: 2,
        expired: 0,
        compared: 57,
        balanced: true,
      })),
    );
    expect(await verified(role)).toMatchObject({ balanced: true, stretches: [{ compared: 0 }, { compared: 0 }] });
  });

  test('of logs balances too, and while it runs', async () => {
    const role = await filled('logs');
    expect(await verified(role, true)).toMatchObject({
      balanced: true,
      stretches: [
        { stored: 58, deadLetters: 2, rows: 58, buried: 2, compared: 58 },
        { stored: 58, deadLetters: 2, rows: 58, buried: 2, compared: 58 },
      ],
    });
    const stop = new AbortController();
    const running = role.consume({ untilDrained: false, signal: stop.signal });
    const values = Array.from({ length: 4000 }, (_, index) => ({
      partition: index % 2,
      key: null,
      value: Buffer.from(index % 97 === 0 ? '{' : `line ${index}`),
    }));
    const sending = role.send(values);
    for (let round = 0; round < 8; round += 1) {
      expect(found(await verified(role))).toEqual([]);
    }
    await sending;
    stop.abort();
    await running;
    await role.consume();
    const end = await verified(role, true);
    expect([end.balanced, end.stretches.map(({ nextOffset }) => nextOffset)]).toEqual([true, [2060n, 2060n]]);
  });

  test('of a topic with transactions: control records and aborted ones are gaps', async () => {
    const role = await pipelines.open({ role: 'events', settings: { batch } });
    const producer = pipelines.kafka.producer({
      transactionalId: role.topic,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    for (const [outcome, id] of [
      ['commit', 'a'],
      ['abort', 'b'],
      ['commit', 'c'],
    ] as const) {
      const transaction = await producer.transaction();
      await transaction.send({ topic: role.topic, messages: [{ value: event(0, id).value, partition: 0 }] });
      await transaction[outcome]();
    }
    await producer.disconnect();
    // The end of a transaction is answered before its marker is written.
    const endOf = async () => (await pipelines.admin.fetchTopicOffsets(role.topic)).map(({ high }) => high);
    await vi.waitFor(async () => expect(await endOf()).toEqual(['6']), { timeout: 60_000, interval: 100 });
    await role.consume();
    expect(await verified(role, true)).toMatchObject({
      balanced: true,
      stretches: [{ nextOffset: 6n, stored: 2, gaps: 4, rows: 2, compared: 2 }],
    });
  });

  test('and was replayed: the stretch that the replay ended and the one that it began, rows read again and made again', async () => {
    const role = await filled();
    await query('delete from kpipe.events where topic = $1 and partition = 0 and kafka_offset in (20, 30)', [
      role.topic,
    ]);
    const positions = await openReplayPositions(role.config.postgres!);
    const before = await positions.read('events', role.topic);
    const moves = before.map(({ partition, position, epoch }) => ({
      partition,
      expected: { position, epoch },
      to: 25n,
    }));
    await positions.set({
      role: 'events',
      topic: role.topic,
      topicId: before[0]!.topicId,
      replayId: 'replay-1',
      moves: moves.filter(({ partition }) => partition === 0),
    });
    await positions.close();
    await role.consume();
    const result = await verified(role, true);
    expect(result.stretches).toMatchObject([
      { partition: 0, endedBy: 'replay-1', firstOffset: 0n, nextOffset: 60n, stored: 57, rows: 56, balanced: false },
      {
        partition: 0,
        endedBy: null,
        firstOffset: 25n,
        nextOffset: 60n,
        stored: 1,
        duplicates: 33,
        rereads: 32,
        deadLetters: 1,
        rows: 33,
        buried: 1,
        balanced: true,
      },
      { partition: 1, endedBy: null, balanced: true },
    ]);
    expect(found(result)).toEqual([['rows-missing', 0, 1, '20']]);
  });

  test('one that has never run has nothing to account for, and says so', async () => {
    const role = await pipelines.open({ role: 'events' });
    expect(await verified(role)).toMatchObject({
      balanced: true,
      stretches: [],
      notes: [`the role has written nothing of ${role.topic}, as it is now`],
    });
  });
});

describe('a corruption is found', () => {
  test('a row that was deleted', async () => {
    const role = await filled();
    await query('delete from kpipe.events where topic = $1 and partition = 1 and kafka_offset in (12, 30)', [
      role.topic,
    ]);
    const result = await verified(role);
    expect(found(result)).toEqual([['rows-missing', 1, 2, '12,30']]);
    expect(result.stretches.map(({ balanced }) => balanced)).toEqual([true, false]);
  });

  test('a row that is there twice, where the table has lost its key', async () => {
    const role = await filled();
    await query('alter table kpipe.events drop constraint events_pkey');
    await query(
      'insert into kpipe.events select * from kpipe.events where topic = $1 and kafka_offset = 5 and partition = 0',
      [role.topic],
    );
    const result = await verified(role);
    await query(
      'delete from kpipe.events e using kpipe.events f where e.ctid > f.ctid and e.id = f.id and e.source = f.source',
    );
    await query('alter table kpipe.events add primary key (source, id)');
    expect(found(result)).toEqual([['rows-repeated', 0, 1, '5']]);
  });

  test('a position that was moved on, past records and past the end of the log', async () => {
    const role = await filled();
    await role.send(Array.from({ length: 5 }, (_, index) => event(0, `late-${index}`)));
    await query('update kpipe.consumer_offset set next_offset = next_offset + 5 where topic = $1', [role.topic]);
    const result = await verified(role);
    expect(found(result)).toEqual([
      ['position-unaccounted', 0, 5, '60-64'],
      ['position-unaccounted', 1, 5, ''],
    ]);
    expect(result.findings[0]?.text).toBe('the position 65 is 5 beyond what the counters account for');
  });

  test('a position that was moved back: rows lie beyond it', async () => {
    const role = await filled();
    await query('update kpipe.consumer_offset set next_offset = 55 where topic = $1 and partition = 0', [role.topic]);
    expect(found(await verified(role))).toEqual([
      ['position-unaccounted', 0, 5, ''],
      ['rows-missing', 0, 5, ''],
      ['rows-beyond-position', 0, 5, '55-59'],
    ]);
  });

  test('a dead letter that is not in its topic', async () => {
    const role = await filled();
    const letters = await role.deadLetters();
    const kept = letters.filter(({ partition, offset }) => !(partition === 1 && offset === 41n));
    expect(kept).toHaveLength(3);
    // Kafka deletes from the front only: the topic is made again, with the others.
    const { admin } = pipelines;
    await admin.deleteTopics({ topics: [role.deadLetterTopic] });
    await expect
      .poll(
        () =>
          admin
            .createTopics({ topics: [{ topic: role.deadLetterTopic, numPartitions: 1 }], waitForLeaders: true })
            .catch(() => false),
        { timeout: 60_000 },
      )
      .toBe(true);
    await topicsEverywhere(role.config.kafka, [role.deadLetterTopic]);
    const producer = pipelines.kafka.producer();
    await producer.connect();
    await expect
      .poll(
        () =>
          producer
            .send({
              topic: role.deadLetterTopic,
              messages: kept.map(({ key, value, headers }) => ({ key, value, headers })),
            })
            .then(
              () => true,
              () => false,
            ),
        { timeout: 30_000 },
      )
      .toBe(true);
    await producer.disconnect();
    expect(found(await verified(role))).toEqual([['dead-letters-missing', 1, 1, '41']]);
  });

  test.each([
    ['its data', `data = jsonb_set(data, '{n}', '1.10')`, 'data'],
    ['its type', `type = 'page.view'`, 'type'],
    ['its identity', `id = 'other'`, 'identity'],
    ['its time, by a microsecond', `time = time + interval '1 microsecond'`, 'time'],
    ['its key', `key = null`, 'key'],
  ])('content that was changed, only when it goes deep: %s', async (_what, change, column) => {
    const role = await filled();
    await query(`update kpipe.events set ${change} where topic = $1 and partition = 0 and kafka_offset = 20`, [
      role.topic,
    ]);
    expect(found(await verified(role))).toEqual([]);
    const result = await verified(role, true);
    expect(found(result)).toEqual([['content-changed', 0, 1, '20']]);
    expect(result.findings[0]?.text).toBe(`the row differs from the record in Kafka: ${column}`);
  });

  test.each([
    ['a body', `body = 'other'`, 'body'],
    ['an attribute', `attributes = attributes || '{"index": 21}'`, 'attributes'],
    ['a severity', 'severity_number = 9', 'severity_number'],
  ])('of a log line: %s', async (_what, change, column) => {
    const role = await filled('logs');
    await query(`update kpipe.logs set ${change} where topic = $1 and partition = 0 and kafka_offset = 20`, [
      role.topic,
    ]);
    const result = await verified(role, true);
    expect(found(result)).toEqual([['content-changed', 0, 1, '20']]);
    expect(result.findings[0]?.text).toBe(`the row differs from the record in Kafka: ${column}`);
  });

  test('a line that was deleted, of a day that is still kept', async () => {
    const role = await filled('logs');
    await query('delete from kpipe.logs where topic = $1 and partition = 1 and kafka_offset = 33', [role.topic]);
    expect(found(await verified(role))).toEqual([['rows-missing', 1, 1, '33']]);
  });

  test('one row deleted and another slipped in: the counts agree, the offsets do not', async () => {
    const role = await filled();
    await query(
      `update kpipe.events set id = 'slipped in', kafka_offset = 41 where topic = $1 and partition = 0 and kafka_offset = 40`,
      [role.topic],
    );
    expect(found(await verified(role))).toEqual([]);
    expect(found(await verified(role, true))).toEqual([['no-effect', 0, 1, '40']]);
  });
});

describe.skipIf(inject('servers').bigquery === null)('role analytics, which keeps no counters', () => {
  test('balances against BigQuery, and a record without row and dead letter is named', async () => {
    const role = await pipelines.open({ role: 'analytics', partitions: 2, settings: { batch } });
    const of = (partition: number, index: number): OutgoingRecord =>
      index === 7
        ? { partition, key: null, value: Buffer.from('{broken') }
        : event(partition, `${partition}-${index % 50}`);
    await role.send([0, 1].flatMap((partition) => Array.from({ length: 60 }, (_, index) => of(partition, index))));
    await role.consume();
    const result = await verified(role);
    expect(result).toMatchObject({
      balanced: true,
      stretches: [0, 1].map((partition) => ({
        partition,
        firstOffset: 0n,
        nextOffset: 60n,
        stored: 59,
        deadLetters: 1,
        gaps: 0,
        rows: 59,
        buried: 1,
      })),
    });
    // A commit that went on without the records' effect.
    await role.send(Array.from({ length: 3 }, (_, index) => event(1, `late-${index}`)));
    await pipelines.admin.setOffsets({
      groupId: role.group,
      topic: role.topic,
      partitions: [{ partition: 1, offset: '63' }],
    });
    const moved = await verified(role);
    expect(found(moved)).toEqual([['no-effect', 1, 3, '60-62']]);
    await expect(verified(role, true)).rejects.toMatchObject({ code: 'KPIPE_USAGE', exitCode: 2 });
  });
});

describe('what was dropped on purpose is accounted for', () => {
  test('log lines whose day was dropped', async () => {
    const role = await pipelines.open({ role: 'logs', settings: { batch } });
    const old = new Date(Date.now() - 29 * 86_400_000).toISOString();
    const line = (index: number, time?: string): OutgoingRecord => ({
      key: null,
      value: Buffer.from(JSON.stringify({ message: `line ${index}`, ...(time === undefined ? {} : { time }) })),
    });
    await role.send(Array.from({ length: 30 }, (_, index) => line(index, index % 3 === 0 ? old : undefined)));
    await role.consume();
    const partition = (
      await query(
        `select tableoid::regclass::text as name from kpipe.logs where topic = $1 and ts < now() - interval '20 days' limit 1`,
        [role.topic],
      )
    )[0]?.['name'];
    const earlier = await query(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'kpipe.logs'::regclass and inhrelid::regclass::text <= $1`,
      [partition],
    );
    await query(`drop table ${earlier.map(({ name }) => String(name)).join(', ')}`);
    const result = await verified(role);
    expect(result).toMatchObject({ balanced: true, stretches: [{ stored: 30, rows: 20, expired: 10 }] });
    await query('delete from kpipe.logs where topic = $1 and kafka_offset = 4', [role.topic]);
    expect(found(await verified(role))).toEqual([['rows-missing', 0, 1, '4']]);
  });
});
