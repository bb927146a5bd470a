import { expect, test } from 'vitest';

import { deadLetterRecord, redrivenHeaders, splitHeaders } from '../../../src/lib/records/dead-letter.ts';
import { header, recordOf } from './records.ts';

const origin = { topic: 'events', partition: 3 };
const failedAtMs = Date.UTC(2026, 10, 1, 12, 30);
const texts = (record: ReturnType<typeof deadLetterRecord>) =>
  (record.headers ?? []).map(([name, value]) => [name, value?.toString() ?? null]);

test('a dead letter is the record byte for byte, and says where it came from and why', () => {
  const binary = Buffer.from([0, 255, 10]);
  const record = recordOf(binary, {
    offset: 9_007_199_254_740_993n,
    headers: [header('h', 'v'), header('h', binary), header('empty', null), header('', 'no name')],
  });
  const dead = deadLetterRecord(record, origin, 'events', {
    reason: 'sink_rejected',
    sqlstate: '23514',
    message: 'refused',
    stage: 'sink',
    attempts: 2,
    failedAtMs,
  });
  expect(dead.key).toBe(record.key);
  expect(dead.value).toBe(record.value);
  expect(dead.headers?.slice(0, 4)).toEqual(record.headers);
  expect(texts(dead).slice(4)).toEqual([
    ['__connect.errors.topic', 'events'],
    ['__connect.errors.partition', '3'],
    ['__connect.errors.offset', '9007199254740993'],
    ['__connect.errors.connector.name', 'kpipe-events'],
    ['__connect.errors.stage', 'TASK_PUT'],
    ['__connect.errors.exception.class.name', 'sink_rejected'],
    ['__connect.errors.exception.message', 'refused'],
    ['kpipe.reason', 'sink_rejected'],
    ['kpipe.sqlstate', '23514'],
    ['kpipe.attempts', '2'],
    ['kpipe.first-failed-at', '2026-11-01T12:30:00.000Z'],
    ['kpipe.timestamp', '1793534400000'],
    ['kpipe.redrives', '0'],
  ]);
});

test('a record that was redriven and failed again has each header once, its first failure and its redrives', () => {
  const first = deadLetterRecord(recordOf('{'), origin, 'events', {
    reason: 'malformed_json',
    message: 'not JSON',
    stage: 'decode',
    attempts: 1,
    failedAtMs,
  });
  const redriven = recordOf('{', {
    offset: 99n,
    headers: redrivenHeaders(splitHeaders(first.headers ?? []).own, {
      redrives: 2,
      firstFailedAt: '2026-11-01T12:30:00.000Z',
      from: 'events/3@7',
    }),
  });
  const again = texts(
    deadLetterRecord(redriven, { topic: 'events', partition: 0 }, 'events', {
      reason: 'schema',
      message: 'no id',
      stage: 'decode',
      attempts: 1,
      failedAtMs: failedAtMs + 1000,
    }),
  );
  const names = again.map(([name]) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(Object.fromEntries(again)).toMatchObject({
    '__connect.errors.offset': '99',
    '__connect.errors.stage': 'VALUE_CONVERTER',
    'kpipe.reason': 'schema',
    'kpipe.first-failed-at': '2026-11-01T12:30:00.000Z',
    'kpipe.redrives': '2',
  });
  expect(names).not.toContain('kpipe.sqlstate');
});
