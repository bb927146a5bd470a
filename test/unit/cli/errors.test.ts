import { describe, expect, test } from 'vitest';

import { asKpipeError, errorDocument, errorLines } from '../../../src/cli/output/errors.ts';
import { renderDocument } from '../../../src/cli/output/document.ts';
import { paletteFor } from '../../../src/cli/output/text.ts';
import { KpipeError, messageOf, type ErrorCode } from '../../../src/lib/errors.ts';

describe('exit codes', () => {
  test.each<[ErrorCode, number]>([
    ['KPIPE_USAGE', 2],
    ['KPIPE_CONFIG_NOT_FOUND', 2],
    ['KPIPE_CONFIG_INVALID', 2],
    ['KPIPE_CONFIG_UNSAFE', 2],
    ['KPIPE_SECRET_UNAVAILABLE', 2],
    ['KPIPE_CONTEXT_UNKNOWN', 2],
    ['KPIPE_INPUT_INVALID', 2],
    ['KPIPE_KAFKA_UNREACHABLE', 1],
    ['KPIPE_POSTGRES_FAILED', 1],
    ['KPIPE_TOPIC_MISSING', 1],
    ['KPIPE_SCHEMA_MISSING', 1],
    ['KPIPE_RECORDS_LOST', 1],
    ['KPIPE_DEAD_LETTER_FLOOD', 1],
    ['KPIPE_REFUSED', 4],
    ['KPIPE_CONFIRMATION_REQUIRED', 4],
    ['KPIPE_DECLINED', 4],
    ['KPIPE_PLAN_STALE', 4],
    ['KPIPE_PARTLY_DONE', 5],
    ['KPIPE_INTERRUPTED', 130],
    ['KPIPE_INTERNAL', 1],
  ])('%s: %d', (code, exitCode) => {
    expect(new KpipeError(code, 'x').exitCode).toBe(exitCode);
    expect(errorDocument(new KpipeError(code, 'x')).error.exitCode).toBe(exitCode);
  });
});

describe('anything thrown', () => {
  test('with a code stays what it is', () => {
    const error = new KpipeError('KPIPE_REFUSED', 'no');
    expect(asKpipeError(error)).toBe(error);
  });

  test.each([
    ['Nonexistent flag: --x', 'there is no flag --x'],
    ['Nonexistent flags: --x, --y', 'there is no flag --x, --y'],
    ['Parsing --max \n\tExpected an integer but received: 1.5', '--max: expected an integer but received: 1.5'],
    ['Missing 1 required arg:\ntopic  any topic of the cluster', 'TOPIC is missing: any topic of the cluster'],
    [
      'Missing 1 required arg:\ntopic  any topic\n\nNote: --partition allows multiple values. Because of this\nAlternatively',
      'TOPIC is missing: any topic',
    ],
    ['Missing 1 required arg:\nrole  (a|b) a or b', 'ROLE is missing: a or b'],
    ['The following error occurred:\n  Missing required flag to', '--to is missing'],
    [
      'The following errors occurred:\n  --a=true cannot also be provided when using --b\n  Missing required flag to',
      '--a and --b exclude each other\n--to is missing',
    ],
    ['All of the following must be provided when using --a: --b', '--a needs --b'],
    ['Flag --brokers expects a value', '--brokers needs a value'],
    ['Unexpected argument: x', 'an argument too many: x'],
    ['something new', 'something new'],
  ])('by oclif’s parser is usage, in kpipe’s words: %j', (said, message) => {
    const parserError = Object.assign(new Error(`${said}\nSee more help with --help`), { oclif: { exit: 2 } });
    expect(asKpipeError(parserError)).toMatchObject({ code: 'KPIPE_USAGE', message, exitCode: 2, next: 'see --help' });
  });

  test.each([
    ['Nonexistent flag: --otu', 'there is no flag --otu', 'did you mean --out?'],
    ['Nonexistent flag: --zebra', 'there is no flag --zebra', 'see --help'],
    [
      'Expected --output=jsno to be one of: table, json',
      '--output: jsno is not one of table, json',
      'did you mean json?',
    ],
    ['Expected evnts to be one of: events, logs', 'evnts is not one of events, logs', 'did you mean events?'],
  ])('by oclif’s parser for a mistyped name says the nearest: %j', (said, message, next) => {
    const parserError = Object.assign(new Error(`${said}\nSee more help with --help`), {
      oclif: { exit: 2 },
      parse: { input: { flags: { out: {}, topic: {} } } },
    });
    expect(asKpipeError(parserError)).toMatchObject({ message, next });
  });

  test('by a flag’s own parser keeps its code, without oclif’s frame', () => {
    const framed = new KpipeError('KPIPE_USAGE', 'Parsing --for \n\tnot a duration\nSee more help with --help', {
      next: 'n',
    });
    expect(asKpipeError(framed)).toMatchObject({ message: 'not a duration', next: 'n' });
  });

  test.each([
    [new Error('boom'), 'boom'],
    ['text', 'text'],
    [new AggregateError([new Error('a'), new Error('b')], ''), 'a; b'],
    [undefined, 'undefined'],
  ])('that nobody foresaw is internal', (thrown, message) => {
    expect(asKpipeError(thrown)).toMatchObject({ code: 'KPIPE_INTERNAL', message, exitCode: 1 });
    expect(messageOf(thrown)).toBe(message);
  });
});

describe('how a failure is shown', () => {
  const error = new KpipeError('KPIPE_RECORDS_LOST', 'gone\nsecond line', {
    where: { topic: 'events', offset: 2n ** 62n, host: undefined },
    next: 'go on',
  });

  test('to scripts: one document, offsets as text, a next step or null', () => {
    expect(JSON.parse(renderDocument(errorDocument(error), 'json'))).toEqual({
      error: {
        code: 'KPIPE_RECORDS_LOST',
        message: 'gone\nsecond line',
        where: { topic: 'events', offset: '4611686018427387904' },
        next: 'go on',
        exitCode: 1,
      },
    });
    expect(errorDocument(new KpipeError('KPIPE_REFUSED', 'x')).error.next).toBeNull();
  });

  test('to people: code, text, where, next; what data brings is escaped', () => {
    const { paint } = paletteFor('stderr', { NO_COLOR: '1' });
    expect(errorLines(error).map(paint)).toEqual([
      'KPIPE_RECORDS_LOST gone',
      'second line',
      '  where: topic events, offset 4611686018427387904',
      '  next:  go on',
    ]);
    const evil = new KpipeError('KPIPE_REFUSED', '\u001b[2J', { where: { topic: '\u202e' } });
    expect(errorLines(evil).map(paint).join('\n')).toBe('KPIPE_REFUSED \\e[2J\n  where: topic \\u{202e}');
  });
});
