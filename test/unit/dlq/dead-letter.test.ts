import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { adviceFor, knownReasons } from '../../../src/lib/dlq/advice.ts';
import {
  identityOf,
  parsePlace,
  placeText,
  readDeadLetter,
  type DeadLetter,
} from '../../../src/lib/dlq/dead-letter.ts';
import { LetterIndex } from '../../../src/lib/dlq/letter-index.ts';
import { redriveMarkers, redrivenRecord } from '../../../src/lib/dlq/redriven-record.ts';
import type { RedrivePlan } from '../../../src/lib/dlq/redrive-plan.ts';
import { selectionOf } from '../../../src/lib/dlq/selection.ts';
import type { RecordHeader, SourceRecord } from '../../../src/lib/ports.ts';
import { deadLetterRecord } from '../../../src/lib/records/dead-letter.ts';

const dlq = { topic: 'events.dlq', partition: 0 };
const buried = (record: SourceRecord, offset = 7n): SourceRecord => {
  const written = deadLetterRecord(record, { topic: 'events', partition: 3 }, 'events', {
    reason: 'sink_rejected',
    sqlstate: '23514',
    message: 'refused',
    stage: 'sink',
    attempts: 2,
    failedAtMs: 1000,
  });
  return { offset, timestampMs: 5000, key: written.key, value: written.value, headers: written.headers ?? [] };
};
const record = (headers: readonly RecordHeader[] = [], value: Buffer | null = Buffer.from('v')): SourceRecord => ({
  offset: 1042n,
  timestampMs: 900,
  key: Buffer.from('k'),
  value,
  headers,
});
const letterOf = (written: SourceRecord): DeadLetter => {
  const read = readDeadLetter(dlq, written);
  if (read.kind !== 'letter') {
    throw new Error(`it is a ${read.kind}`);
  }
  return read.letter;
};
const names = fc
  .oneof(
    fc.constantFrom('a', 'b', '__proto__', 'constructor', 'kpipe.redriven', 'kpipe.other', 'ce_id'),
    fc.constantFrom('__connect.errors.topic', '__connect.errors.offset', 'kpipe.reason', 'kpipe.value-omitted'),
    fc.constantFrom('kpipe.sqlstate', 'kpipe.first-failed-at', 'kpipe.last-offset', 'kpipe.timestamp'),
    fc.string(),
  )
  .filter((name) => name !== 'kpipe.redriven-from');
const someHeaders = fc.array(fc.tuple(names, fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)))), {
  maxLength: 8,
});
const someBytes = fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)));

test('what was written is read back, whatever the record holds', () => {
  expect(letterOf(buried(record()))).toMatchObject({
    source: { topic: 'events', partition: 3, offset: 1042n },
    sourceTimestampMs: 900,
    lies: { ...dlq, offset: 7n },
    atMs: 5000,
    firstFailedAt: '1970-01-01T00:00:01.000Z',
    role: 'events',
    reason: 'sink_rejected',
    sqlstate: '23514',
    message: 'refused',
    stage: 'sink',
    attempts: 2,
    redrives: 0,
    omittedBytes: null,
    undecodableUpTo: null,
  });
  fc.assert(
    fc.property(someHeaders, someBytes, someBytes, (headers, key, value) => {
      const letter = letterOf(buried({ ...record(headers, value), key }));
      expect([letter.key, letter.value, letter.headers]).toEqual([key, value, headers]);
      expect(letter.source).toEqual({ topic: 'events', partition: 3, offset: 1042n });
    }),
  );
});

test('a redrive gives back the very record, counted, and its next death keeps the count and the first failure', () => {
  const plan = { to: null, targets: [{ topic: 'events', partitions: 6, retentionMs: null }] } as unknown as RedrivePlan;
  fc.assert(
    fc.property(someHeaders, someBytes, someBytes, (headers, key, value) => {
      const original = { ...record(headers, value), key };
      let written = buried(original);
      for (let redrives = 1; redrives <= 4; redrives += 1) {
        const index = new LetterIndex(() => true);
        index.add(dlq, written);
        const [letter] = index.letters;
        const { sourceTimestampMs: timestampMs, firstFailedAt } = letterOf(written);
        const own = letterOf(written).headers;
        const content = { letter: letter!, record: written, headers: own, timestampMs, firstFailedAt };
        const again = redrivenRecord(content, plan, 2000);
        expect(again).toMatchObject({ topic: 'events', partition: 3, timestampMs: 900 });
        expect([again.key, again.value, again.headers?.slice(0, headers.length)]).toEqual([key, value, headers]);
        written = buried({ offset: 1042n, timestampMs: 900, key, value, headers: again.headers ?? [] });
        expect(letterOf(written)).toMatchObject({ redrives, firstFailedAt: '1970-01-01T00:00:01.000Z', headers });
      }
    }),
  );
});

test.each<[string, readonly RecordHeader[], string]>([
  ['no headers', [], 'foreign'],
  ['no topic', [['__connect.errors.topic', Buffer.from('')]], 'foreign'],
  [
    'a partition that is none',
    [
      ['__connect.errors.topic', Buffer.from('t')],
      ['__connect.errors.partition', Buffer.from('x')],
      ['__connect.errors.offset', Buffer.from('1')],
    ],
    'foreign',
  ],
  [
    'an offset that is none',
    [
      ['__connect.errors.topic', Buffer.from('t')],
      ['__connect.errors.partition', Buffer.from('0')],
      ['__connect.errors.offset', null],
    ],
    'foreign',
  ],
  ['a marker', [['kpipe.redriven', Buffer.from('events/3@1042#900')]], 'marker'],
])('%s: %s', (_name, headers, kind) => {
  expect(readDeadLetter(dlq, { ...record(headers, null), key: null }).kind).toBe(kind);
});

test('headers of ours that a producer made up do no harm', () => {
  const made: readonly RecordHeader[] = [
    ['kpipe.redriven', Buffer.from('x')],
    ['kpipe.value-omitted', Buffer.from('12')],
    ['kpipe.last-offset', Buffer.from('12')],
    ['kpipe.redrives', Buffer.from('many')],
  ];
  for (const value of [Buffer.from('v'), null]) {
    expect(letterOf(buried(record(made, value)))).toMatchObject({
      omittedBytes: null,
      undecodableUpTo: null,
      redrives: 0,
      headers: made,
    });
  }
});

test('a tombstone that says what the letter of a broken batch says does not stand for other records', () => {
  const range = { ...record([['kpipe.last-offset', Buffer.from('99')]], null), key: null };
  const letter = (reason: string) =>
    deadLetterRecord(range, { topic: 'events', partition: 3 }, 'events', {
      reason,
      message: 'm',
      stage: 'decode',
      attempts: 1,
      failedAtMs: 0,
    });
  const upTo = (reason: string) => letterOf({ ...range, headers: letter(reason).headers ?? [] }).undecodableUpTo;
  expect([upTo('null_value'), upTo('undecodable'), upTo('too_large')]).toEqual([null, 99n, 99n]);
});

test('the record of another pipeline’s dead letter keeps the headers that it came with, and is redriven with them', () => {
  const theirs: readonly RecordHeader[] = [
    ['__connect.errors.topic', Buffer.from('theirs')],
    ['__connect.errors.partition', Buffer.from('7')],
    ['__connect.errors.offset', Buffer.from('1')],
    ['kpipe.redrives', Buffer.from('2')],
    ['z', null],
  ];
  const written = buried(record(theirs));
  expect(written.headers.slice(0, theirs.length)).toEqual(theirs);
  // The count goes on, whoever wrote it: it guards against loops.
  expect(letterOf(written)).toMatchObject({ source: { topic: 'events', offset: 1042n }, redrives: 2, headers: theirs });
});

describe('places', () => {
  test.each([
    ['events/3@1042', { topic: 'events', partition: 3, offset: 1042n }],
    ['events-3@1042', { topic: 'events', partition: 3, offset: 1042n }],
    ['a-1/b.c_2/0@0', null],
    ['a-1.b/0@9007199254740993', { topic: 'a-1.b', partition: 0, offset: 9007199254740993n }],
    ['events/3', null],
    ['events@3', null],
    ['/3@4', null],
    ['events/-1@4', null],
    ['', null],
  ])('%s', (text, place) => {
    const parsed = parsePlace(text);
    if (place !== null) {
      expect(parsed).toEqual(place);
      expect(parsePlace(placeText(place))).toEqual(place);
    } else if (parsed !== null) {
      // A topic's name may hold what separates; it is never guessed shorter.
      expect(placeText(parsed)).toBe(text);
    }
  });
});

test('copies are one letter, redriven when any marker says so; the same place at another time is another letter', () => {
  const index = new LetterIndex(() => true);
  index.add(dlq, buried(record(), 1n));
  index.add({ ...dlq, partition: 1 }, buried(record(), 9n));
  index.add(dlq, buried({ ...record(), timestampMs: 901 }, 2n));
  expect(index.letters).toMatchObject([
    { copies: 2, lies: { partition: 0, offset: 1n } },
    { copies: 1, lies: { offset: 2n } },
  ]);
  const [first, second] = index.letters;
  expect(index.stateOf(first!)).toBe('dead');
  const markers = redriveMarkers(first!);
  expect(markers.map(({ partition }) => partition)).toEqual([0, 1]);
  for (const { headers = [], key, value } of markers) {
    index.add(dlq, { offset: 3n, timestampMs: 0, key, value, headers });
  }
  expect([index.stateOf(first!), index.stateOf(second!), index.foreign]).toEqual(['redriven', 'dead', 0]);
  expect(first!.identity).toBe(identityOf(letterOf(buried(record()))));
});

describe('where a redriven record goes', () => {
  const index = new LetterIndex(() => true);
  index.add(dlq, buried(record()));
  const [letter] = index.letters;
  const target = (more: Partial<RedrivePlan>): RedrivePlan =>
    ({ to: null, targets: [], ...more }) as unknown as RedrivePlan;
  const go = (plan: RedrivePlan, key: string | null, nowMs = 2000) =>
    redrivenRecord(
      {
        letter: letter!,
        record: { ...record(), key: key === null ? null : Buffer.from(key) },
        headers: [],
        timestampMs: 900,
        firstFailedAt: null,
      },
      plan,
      nowMs,
    );

  test('where it failed, while that partition exists; else by its key', () => {
    const six = target({ targets: [{ topic: 'events', partitions: 6, retentionMs: null }] });
    expect(go(six, 'k').partition).toBe(3);
    const two = target({ targets: [{ topic: 'events', partitions: 2, retentionMs: null }] });
    expect(go(two, 'k').partition).toBe(go(two, 'k').partition);
    expect(go(two, 'k').partition).toBeLessThan(2);
    expect(go(two, null).partition).toBe(1);
    const other = target({ to: 'other', targets: [{ topic: 'other', partitions: 9, retentionMs: null }] });
    expect([go(other, 'k').topic, go(other, null).partition]).toEqual(['other', 3]);
  });

  test('its timestamp stays unless the retention would soon take it', () => {
    const kept = target({ targets: [{ topic: 'events', partitions: 6, retentionMs: 10_000 }] });
    expect(go(kept, 'k', 5800).timestampMs).toBe(900);
    expect(go(kept, 'k', 5900).timestampMs).toBeUndefined();
  });
});

describe('which are meant', () => {
  const now = Date.parse('2026-03-01T12:00:00Z');
  const letter = { ...letterOf(buried(record([], Buffer.from('{"data":{"n":5}}')))), atMs: now - 3_600_000 };
  test.each([
    [{}, true],
    [{ reason: ['sink_rejected'] }, true],
    [{ reason: ['schema', 'sink_rejected'] }, true],
    [{ reason: ['schema'] }, false],
    [{ since: '2h' }, true],
    [{ since: '30m' }, false],
    [{ until: '30m' }, true],
    [{ until: '2026-03-01T11:00Z' }, false],
    [{ since: '2026-03-01T12:00+01:00' }, true],
    [{ where: 'topic == "events" && partition == 3 && offset == 1042 && timestamp == 900' }, true],
    [{ where: 'reason == "sink_rejected" && sqlstate == "23514" && stage == "sink" && role == "events"' }, true],
    [{ where: 'attempts == 2 && redrives == 0 && data.n == 5 && key == "k" && message == "refused"' }, true],
    [{ where: 'timestamp(at) > timestamp(firstFailedAt)' }, true],
    [{ where: 'data.n > 5' }, false],
    [{ where: 'data.n == 5', reason: ['schema'] }, false],
  ])('%j: %s', (flags, expected) => {
    const selection = selectionOf(flags, now);
    expect(selection.matches(letter)).toBe(expected);
    expect(selection.restricts).toBe(Object.keys(flags).length > 0);
  });
});

test('every reason has its advice; a SQLSTATE says more; what is unknown says what was written', () => {
  const letter = letterOf(buried(record()));
  for (const reason of knownReasons) {
    const { means, next } = adviceFor({ ...letter, reason, sqlstate: null });
    expect([means.length > 10, next.length > 10]).toEqual([true, true]);
  }
  expect(adviceFor(letter).means).toContain('check constraint');
  expect(adviceFor({ ...letter, reason: 'org.example.Boom', message: 'boom', sqlstate: null }).means).toBe('boom');
  expect(adviceFor({ ...letter, reason: '__proto__', message: '', sqlstate: null }).means).toContain('not written');
});
