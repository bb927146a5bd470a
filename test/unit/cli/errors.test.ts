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

  test('by oclif’s parser is usage, without its advertisement', () => {
    const parserError = Object.assign(new Error('Nonexistent flag: --x\nSee more help with --help'), {
      oclif: { exit: 2 },
    });
    expect(asKpipeError(parserError)).toMatchObject({
      code: 'KPIPE_USAGE',
      message: 'Nonexistent flag: --x',
      exitCode: 2,
    });
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
