import { describe, expect, test } from 'vitest';

import type { OutgoingRecord, RecordHeader } from '../../src/lib/ports.ts';
import { verifyRole } from '../../src/lib/verify/verify-role.ts';
import { rawProduce } from '../support/raw-produce.ts';
import { encodeBatch } from '../support/record-batches.ts';
import { rolePipelines, type RolePipeline } from '../support/role-pipeline.ts';

/** Records that came out of looking for what the corpus has not: each through Kafka and the role, among good ones. */
const pipelines = await rolePipelines();

const text = (name: string, value: string | null): RecordHeader => [name, value === null ? null : Buffer.from(value)];
const recordOf = (value: string | Buffer | null, headers: readonly RecordHeader[] = []): OutgoingRecord => ({
  key: Buffer.from('k'),
  value: value === null ? null : Buffer.from(value),
  headers,
});
const good = (id: string): OutgoingRecord => recordOf(`{"id":"${id}","type":"good","data":{"v":1}}`);

async function balance(role: RolePipeline): Promise<unknown> {
  const options = { deep: true, signal: new AbortController().signal, now: Date.now, onProgress: () => undefined };
  const { findings, balanced } = await verifyRole(role.config, role.role, options);
  return { findings, balanced };
}

describe('role events', () => {
  test('a record at the end of time is a dead letter, and its neighbours in the batch are rows with their own times', async () => {
    const role = await pipelines.open({
      role: 'events',
      topicConfig: { 'message.timestamp.after.max.ms': '9223372036854775807' },
    });
    const now = Date.now();
    // An ack of it says that the leader is one.
    await role.send([good('first')]);
    const { brokers } = await pipelines.admin.describeCluster();
    const { topics } = await pipelines.admin.fetchTopicMetadata({ topics: [role.topic] });
    const leader = brokers.find(({ nodeId }) => nodeId === topics[0]?.partitions[0]?.leader)!;
    const valueOf = (id: string) => Buffer.from(`{"id":"${id}","type":"t"}`);
    const batch = encodeBatch({
      baseOffset: 0,
      baseTimestampMs: 2n ** 63n - 1n,
      maxTimestampMs: 2n ** 63n - 1n,
      records: [
        { offsetDelta: 0, value: valueOf('end') },
        { offsetDelta: 1, timestampDelta: BigInt(now) - (2n ** 63n - 1n), value: valueOf('now') },
      ],
    });
    await rawProduce({ host: leader.host, port: leader.port, topic: role.topic, partition: 0, batch });

    const { totals } = await role.consume();
    expect(totals).toMatchObject({ records: 3, stored: 2, deadLetters: 1 });
    const rows = await pipelines.query("select id, time from kpipe.events where topic = $1 and type = 't'", [
      role.topic,
    ]);
    expect(rows).toEqual([{ id: 'now', time: new Date(now) }]);
    expect(await role.deadLetters()).toMatchObject([{ offset: 1n, headers: { 'kpipe.reason': 'timestamp_range' } }]);
    expect(await balance(role)).toEqual({ findings: [], balanced: true });
  });

  test('a dead letter keeps headers of the names that it adds itself', async () => {
    const role = await pipelines.open({ role: 'events' });
    const theirs = [
      text('__connect.errors.topic', 'theirs'),
      text('kpipe.reason', 'theirs'),
      text('kpipe.other', null),
    ];
    const tombstone = [text('kpipe.value-omitted', '5'), text('kpipe.last-offset', '99')];
    await role.send([good('a'), recordOf('{', theirs), good('b'), recordOf(null, tombstone)]);
    expect((await role.consume()).totals).toMatchObject({ stored: 2, deadLetters: 2 });
    const letters = await role.deadLetters();
    expect(letters.map(({ offset, headers }) => [offset, headers['kpipe.reason']])).toEqual([
      [1n, 'theirs,malformed_json'],
      [3n, 'null_value'],
    ]);
    expect(letters[0]?.headers).toMatchObject({ '__connect.errors.topic': `theirs,${role.topic}` });
    expect(letters[1]?.headers).toMatchObject({ 'kpipe.value-omitted': '5', 'kpipe.last-offset': '99' });
    expect(await balance(role)).toEqual({ findings: [], balanced: true });
  });

  test('binary mode: a text in another encoding is a dead letter, U+0000 in an attribute is flagged', async () => {
    const role = await pipelines.open({ role: 'events' });
    const ce = [text('ce_id', 'b-1'), text('ce_type', 't'), text('content-type', 'text/plain')];
    await role.send([
      recordOf(Buffer.from('caf\u00e9', 'latin1'), ce),
      recordOf('x', [text('ce_id', 'b-2'), text('ce_type', 'a\u0000'), text('content-type', 'text/plain')]),
    ]);
    expect((await role.consume()).totals).toMatchObject({ stored: 1, deadLetters: 1 });
    expect(await role.deadLetters()).toMatchObject([{ offset: 0n, headers: { 'kpipe.reason': 'invalid_utf8' } }]);
    const rows = await pipelines.query('select id, type, data, raw from kpipe.events where topic = $1', [role.topic]);
    expect(rows).toEqual([{ id: 'b-2', type: 'a\ufffd', data: 'x', raw: Buffer.from('x') }]);
  });

  test('--from-start begins where the log does, whatever the role says, and reads nothing again', async () => {
    const settings = { start: 'latest' };
    const ends = await pipelines.open({ role: 'events', settings });
    await ends.send([good('before')]);
    expect((await ends.consume()).totals.records).toBe(0);
    const starts = await pipelines.open({ role: 'events', settings });
    await starts.send([good('before')]);
    expect((await starts.consume({ fromStart: true })).totals).toMatchObject({ records: 1, stored: 1 });
    expect((await starts.consume({ fromStart: true })).totals.records).toBe(0);
    expect((await ends.consume({ fromStart: true })).totals.records).toBe(0);
  });
});

test('role logs: OTLP as proto3 may write it, a coloured level, times in any unit', async () => {
  const role = await pipelines.open({ role: 'logs' });
  const otlp =
    '{"resourceLogs":[{"resource":null,"scopeLogs":[{"logRecords":[{"observedTimeUnixNano":"1793534400000001999","severityNumber":"SEVERITY_NUMBER_WARN",' +
    '"traceId":null,"body":{"stringValue":"otlp"},"attributes":[{"key":"i","value":{"intValue":9007199254740993}},{"key":"d","value":{"doubleValue":1.10}},' +
    '{"key":"e","value":{"doubleValue":1e400}}]}]}]}]}';
  await role.send([
    recordOf(otlp),
    recordOf('{"level":"\\u001b[31merror\\u001b[39m","msg":"winston","timestamp":"2026-11-01T12:00:00Z"}'),
    recordOf('{"level":"info","ts":1793534400.000001,"msg":"seconds"}'),
    recordOf('{"level":"info","time":1793534400000001,"msg":"microseconds"}'),
    recordOf('{"level":"info","time":1793534400000001999,"msg":"nanoseconds"}'),
  ]);
  expect((await role.consume()).totals).toMatchObject({ stored: 5, deadLetters: 0 });
  const rows = await pipelines.query(
    `select body, severity_number as level, to_char(ts at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US') as at
       from kpipe.logs where topic = $1 order by kafka_offset`,
    [role.topic],
  );
  expect(rows).toEqual([
    { body: 'otlp', level: 13, at: '2026-11-01 12:00:00.000001' },
    { body: 'winston', level: 17, at: '2026-11-01 12:00:00.000000' },
    { body: 'seconds', level: 9, at: '2026-11-01 12:00:00.000001' },
    { body: 'microseconds', level: 9, at: '2026-11-01 12:00:00.000001' },
    { body: 'nanoseconds', level: 9, at: '2026-11-01 12:00:00.000001' },
  ]);
  const exact = await pipelines.query(
    `select attributes->>'i' as i, attributes->>'d' as d, (attributes->>'e')::numeric = 1e400 as e
       from kpipe.logs where topic = $1 and body = 'otlp'`,
    [role.topic],
  );
  expect(exact).toEqual([{ i: '9007199254740993', d: '1.10', e: true }]);
  expect(await balance(role)).toEqual({ findings: [], balanced: true });
});
