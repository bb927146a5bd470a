import { expect, test } from 'vitest';

import type { SourceRecord } from '../../../src/lib/ports.ts';
import { parseRecordFormat } from '../../../src/lib/tail/record-format.ts';

const at = { topic: 'events', partition: 3 };
const record: SourceRecord = {
  offset: 9007199254740993n,
  timestampMs: Date.UTC(2026, 0, 31, 12),
  key: Buffer.from('o-1'),
  value: Buffer.from([0x7b, 0xff, 0x7d]),
  headers: [
    ['a', Buffer.from('1')],
    ['a', Buffer.from('2')],
    ['n', null],
  ],
};
const empty: SourceRecord = { offset: 0n, timestampMs: 1e300, key: null, value: null, headers: [] };

test.each([
  ['%t/%p@%o', 'events/3@9007199254740993', 'events/3@0'],
  ['%k=%v;', 'o-1={\xff};', '=;'],
  ['%K %V', '3 3', '-1 -1'],
  ['%d %D', '1769860800000 2026-01-31T12:00:00.000Z', '1e+300 1e+300'],
  ['%h|%H', 'a=1,a=2,n=|3', '|0'],
  ['%h{a}-%h{n}-%h{none}', '2--', '--'],
  ['100%%\\n\\t\\\\\\x00\\0', '100%\n\t\\\0\0', '100%\n\t\\\0\0'],
  ['', '', ''],
])('%s', (template, full, none) => {
  const format = parseRecordFormat(template);
  expect(format(at, record).toString('latin1')).toBe(full);
  expect(format(at, empty).toString('latin1')).toBe(none);
});

test.each(['%x', '%', '\\q', '\\', '%constructor'.slice(0, 2), '\\u0041'])('%j is refused', (template) => {
  expect(() => parseRecordFormat(template)).toThrow(/--format: .* means nothing/);
});

test('a guard sees what comes from the record, not the template', () => {
  const guard = (bytes: Buffer): Buffer => Buffer.from(bytes.toString('latin1').toUpperCase());
  expect(parseRecordFormat('key %k %t\\n')(at, record, guard).toString()).toBe('key O-1 EVENTS\n');
});
