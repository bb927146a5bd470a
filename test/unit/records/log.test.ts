import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createLogDecoder } from '../../../src/lib/records/log.ts';
import { limits, recordOf } from './records.ts';

const decode = createLogDecoder({ limits });
const noon = { ms: Date.UTC(2026, 10, 1, 12), micros: 0 };

interface ShownLine {
  readonly time: unknown;
  readonly severity: { readonly number: number; readonly text: string | null };
  readonly service: string | null;
  readonly body: string;
  readonly attributes: string;
  readonly resource: string;
  readonly [field: string]: unknown;
}

function linesOf(value: unknown): readonly ShownLine[] {
  const decoded = decode(recordOf(value));
  if (decoded.kind === 'dead') {
    throw new Error(`${decoded.reason}: ${decoded.message}`);
  }
  return decoded.row.lines.map((line) => ({
    ...line,
    attributes: line.attributes.toString(),
    resource: line.resource.toString(),
  }));
}

function lineOf(value: unknown): ShownLine {
  const lines = linesOf(value);
  expect(lines).toHaveLength(1);
  return lines[0]!;
}

const reasonOf = (value: unknown): string => {
  const decoded = decode(recordOf(value));
  return decoded.kind === 'dead' ? decoded.reason : 'stored';
};
const attributesOf = (value: unknown): unknown => JSON.parse(lineOf(value).attributes);

describe('the shapes that loggers write', () => {
  test('pino', () => {
    const line =
      '{"level":50,"time":1793534400000,"pid":17,"hostname":"api-1","service":"api","msg":"down","err":{"stack":"a\\nb"},"n":1.10}';
    expect(lineOf(line)).toEqual({
      time: noon,
      severity: { number: 17, text: 'error' },
      service: 'api',
      traceId: null,
      spanId: null,
      body: 'down',
      attributes: '{"pid":17,"hostname":"api-1","err":{"stack":"a\\nb"},"n":1.10}',
      resource: '{}',
      unstructured: false,
      sanitised: false,
    });
  });

  test('winston', () => {
    expect(
      lineOf({ level: 'warn', message: 'slow', timestamp: '2026-11-01T12:00:00.000Z', service: 'worker' }),
    ).toMatchObject({
      time: noon,
      severity: { number: 13, text: 'warn' },
      service: 'worker',
      body: 'slow',
      attributes: '{}',
    });
  });

  test('bunyan: its name is the service', () => {
    expect(
      lineOf({ name: 'api', hostname: 'h', pid: 1, level: 30, msg: 'hi', time: '2026-11-01T12:00:00Z', v: 0 }),
    ).toMatchObject({
      time: noon,
      severity: { number: 9, text: 'info' },
      service: 'api',
      body: 'hi',
      attributes: '{"hostname":"h","pid":1,"v":0}',
    });
  });

  test('ECS with dots', () => {
    const line = {
      '@timestamp': '2026-11-01T12:00:00Z',
      'log.level': 'ERROR',
      message: 'x',
      'service.name': 'api',
      'trace.id': 't1',
      'span.id': 's1',
      'ecs.version': '8.10',
    };
    expect(lineOf(line)).toMatchObject({
      time: noon,
      severity: { number: 17, text: 'ERROR' },
      service: 'api',
      traceId: 't1',
      spanId: 's1',
      body: 'x',
      attributes: '{"ecs.version":"8.10"}',
    });
  });

  test('ECS nested: names are found inside, and nothing else in there is lost', () => {
    const line = {
      '@timestamp': '2026-11-01T12:00:00Z',
      log: { level: 'error', logger: 'db' },
      message: 'x',
      service: { name: 'api', version: '1.2' },
      trace: { id: 't1' },
      span: { id: 's1' },
      event: { dataset: 'd' },
    };
    expect(lineOf(line)).toMatchObject({
      severity: { number: 17, text: 'error' },
      service: 'api',
      traceId: 't1',
      spanId: 's1',
      body: 'x',
    });
    expect(attributesOf(line)).toMatchObject({
      log: { logger: 'db' },
      service: { version: '1.2' },
      event: { dataset: 'd' },
    });
  });

  test('zap: ts in seconds', () => {
    expect(lineOf('{"level":"info","ts":1793534400.123456,"caller":"a.go:1","msg":"hi"}')).toMatchObject({
      time: { ms: noon.ms + 123, micros: 456 },
      severity: { number: 9 },
      body: 'hi',
      attributes: '{"caller":"a.go:1"}',
    });
    expect(lineOf('{"ts":1793534400000,"msg":"hi"}')).toMatchObject({ time: noon });
  });

  test('one OTLP record', () => {
    const record = {
      timeUnixNano: '1793534400000001000',
      observedTimeUnixNano: '1793534400000002000',
      severityNumber: 18,
      severityText: 'ERROR2',
      body: { stringValue: 'x' },
      traceId: 'aa',
      spanId: 'bb',
      flags: 1,
      attributes: [
        { key: 'http.status', value: { intValue: '500' } },
        { key: 'big', value: { intValue: '9007199254740993' } },
        {
          key: 'list',
          value: { arrayValue: { values: [{ stringValue: 'a' }, { boolValue: false }, { doubleValue: 0.5 }] } },
        },
        { key: 'map', value: { kvlistValue: { values: [{ key: '__proto__', value: { stringValue: 'b' } }] } } },
        { key: 'none' },
      ],
    };
    expect(lineOf(record)).toMatchObject({
      time: { ms: noon.ms, micros: 1 },
      severity: { number: 18, text: 'ERROR2' },
      traceId: 'aa',
      spanId: 'bb',
      body: 'x',
      attributes:
        '{"http.status":500,"big":9007199254740993,"list":["a",false,0.5],"map":{"__proto__":"b"},"none":null}',
    });
    expect(lineOf(`\ufeff${JSON.stringify(record)}`).body).toBe('x');
  });

  test.each([
    ['seconds', '1793534400', noon],
    ['seconds with a fraction', '1793534400.000001', { ms: noon.ms, micros: 1 }],
    ['milliseconds', '1793534400000', noon],
    ['microseconds', '1793534400000001', { ms: noon.ms, micros: 1 }],
    ['nanoseconds', '1793534400000001999', { ms: noon.ms, micros: 1 }],
    ['the epoch', '0', { ms: 0, micros: 0 }],
  ])('a number as the time counts %s by its size: %s', (_unit, text, time) => {
    for (const name of ['time', 'timestamp', '@timestamp', 'ts']) {
      expect(lineOf(`{"${name}":${text},"msg":"x"}`)).toMatchObject({ time });
    }
  });

  test.each(['1e19', '9223372036854775808', '1e400', '-1e400'])('no clock counts to %s', (text) => {
    expect(reasonOf(`{"time":${text},"msg":"x"}`)).toBe('timestamp_range');
  });

  const exportOf = (...records: unknown[]) => ({
    resourceLogs: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'api' } }] },
        scopeLogs: [{ scope: {}, logRecords: records.slice(0, 1) }, { logRecords: records.slice(1) }],
      },
    ],
  });

  test('OTLP’s names with a body that is plain', () => {
    const line = { timeUnixNano: '1793534400000001999', severityNumber: 14, body: 'x', service: 'api' };
    expect(lineOf(line)).toMatchObject({
      time: { ms: noon.ms, micros: 1 },
      severity: { number: 14, text: 'warn' },
      body: 'x',
      service: 'api',
      attributes: '{}',
    });
    expect(lineOf({ ...line, timeUnixNano: '0' })).toMatchObject({ time: null });
    expect(reasonOf({ ...line, timeUnixNano: 'x' })).toBe('invalid_timestamp');
  });

  test('OTLP: numbers keep their text, also those that are no doubles', () => {
    const value =
      '{"body":{"doubleValue":1.10},"timeUnixNano":1793534400000001999,"attributes":[{"key":"i","value":{"intValue":9007199254740993}},' +
      '{"key":"s","value":{"intValue":"-9223372036854775808"}},{"key":"d","value":{"doubleValue":1e400}},' +
      '{"key":"n","value":{"doubleValue":"NaN"}},{"key":"l","value":{"arrayValue":{"values":[{"doubleValue":2.50},null]}}}]}';
    expect(lineOf(value)).toMatchObject({
      time: { ms: noon.ms, micros: 1 },
      body: '1.10',
      attributes: '{"i":9007199254740993,"s":-9223372036854775808,"d":1e400,"n":"NaN","l":[2.50,null]}',
    });
  });

  test('OTLP: null is absent, an enum may be its name, and an observed time stands in for one that nobody knows', () => {
    const nulls = { body: null, attributes: null, traceId: null, spanId: null, severityText: null, timeUnixNano: null };
    expect(lineOf(exportOf({ ...nulls, severityNumber: 'SEVERITY_NUMBER_WARN2' }))).toMatchObject({
      time: null,
      severity: { number: 14, text: null },
      traceId: null,
      body: '',
      attributes: '{}',
    });
    const observed = { timeUnixNano: '0', observedTimeUnixNano: '1793534400000000000', body: { stringValue: 'x' } };
    expect(lineOf(exportOf(observed))).toMatchObject({ time: noon, body: 'x' });
    expect(reasonOf(exportOf({ severityNumber: 'WARN' }))).toBe('schema');
  });

  test('an OTLP export is as many lines as it holds', () => {
    const lines = linesOf(
      exportOf(
        { body: { stringValue: 'a' }, severityNumber: 9 },
        { body: { stringValue: 'b' } },
        { body: { intValue: 7 } },
      ),
    );
    expect(lines.map(({ body, service, severity, resource }) => [body, service, severity.number, resource])).toEqual([
      ['a', 'api', 9, '{"service.name":"api"}'],
      ['b', 'api', 0, '{"service.name":"api"}'],
      ['7', 'api', 0, '{"service.name":"api"}'],
    ]);
  });

  test.each([
    ['no record', exportOf(), 'schema'],
    ['no list', { resourceLogs: {} }, 'schema'],
    ['a time that is no number', exportOf({ timeUnixNano: 'x' }), 'schema'],
    ['half a nanosecond', exportOf({ timeUnixNano: 1.5 }), 'schema'],
    ['an infinite time', '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1e400}]}]}]}', 'schema'],
    ['a time beyond all', exportOf({ timeUnixNano: 1e25 }), 'timestamp_range'],
    ['a list of what is no value', exportOf({ body: { arrayValue: { values: ['x', 1] } } }), 'stored'],
    ['a map of what is no pair', exportOf({ body: { kvlistValue: { values: ['x', { key: 1 }] } } }), 'stored'],
    ['as many lines as a smallint counts', exportOf(...Array.from({ length: 32_767 }, () => ({}))), 'stored'],
    ['more lines than a smallint counts', exportOf(...Array.from({ length: 32_768 }, () => ({}))), 'too_large'],
  ])('an OTLP export with %s: %s', (_what, value, reason) => {
    expect(reasonOf(value)).toBe(reason);
  });

  test('a logger’s own object with an OTLP field keeps its message', () => {
    expect(
      lineOf({ severityNumber: 9, severityText: 'INFO', message: 'mine', service: 'api', time: noon.ms }),
    ).toMatchObject({
      time: noon,
      body: 'mine',
      service: 'api',
      severity: { number: 9, text: 'INFO' },
    });
  });

  test('logfmt', () => {
    const line =
      'time=2026-11-01T12:00:00Z level=warn msg="slow \\"query\\"\\nx" service=api trace_id=t1 dur=1.5s empty= q=""';
    expect(lineOf(line)).toMatchObject({
      time: noon,
      severity: { number: 13, text: 'warn' },
      service: 'api',
      traceId: 't1',
      body: 'slow "query"\nx',
      attributes: '{"dur":"1.5s","empty":"","q":""}',
      unstructured: false,
    });
  });

  test.each([
    ['prose with an equals sign', 'the answer is x=1'],
    ['one pair', 'level=info'],
    ['pairs without a message or a level', 'a=1 b=2'],
    ['a broken quote', 'level=info msg="x'],
  ])('not logfmt: %s', (_what, line) => {
    expect(lineOf(line)).toMatchObject({ body: line, unstructured: true, severity: { number: 0 } });
  });

  test('RFC 5424 syslog', () => {
    const line =
      '<165>1 2026-11-01T12:00:00.003Z web-1 nginx 42 ID47 [ex@1 k="a \\"b\\" \\] c"][y@1] \ufeffGET / 200\nsecond line';
    expect(lineOf(line)).toMatchObject({
      time: { ms: noon.ms + 3, micros: 0 },
      severity: { number: 10 },
      service: 'nginx',
      body: 'GET / 200\nsecond line',
      attributes: JSON.stringify({
        'host.name': 'web-1',
        'process.pid': '42',
        'syslog.msgid': 'ID47',
        'syslog.structured_data': '[ex@1 k="a \\"b\\" \\] c"][y@1]',
        'syslog.facility': 20,
      }),
    });
    expect(lineOf('<0>1 - - - - - -')).toMatchObject({ time: null, severity: { number: 21 }, service: null, body: '' });
    expect(lineOf('<192>1 - - - - - -')).toMatchObject({ unstructured: true });
  });

  test.each([
    ['plain text'],
    [''],
    ['[2026] a list?'],
    ['"a JSON string"'],
    ['42'],
    ['\tat f (a.js:1)\n\tat g'],
    ['\\N\t\\.\r\n'],
  ])('plain text is a body: %j', (text) => {
    expect(lineOf(text)).toMatchObject({
      body: text,
      unstructured: true,
      time: null,
      attributes: '{}',
      sanitised: false,
    });
  });
});

describe('levels', () => {
  test.each([
    [10, 1, 'trace'],
    [20, 5, 'debug'],
    [30, 9, 'info'],
    [35, 9, 'info'],
    [40, 13, 'warn'],
    [50, 17, 'error'],
    [60, 21, 'fatal'],
    [1000, 21, 'fatal'],
    [0, 21, 'fatal'],
    [3, 17, 'error'],
    [7, 5, 'debug'],
    [8, 0, '8'],
    [-5, 0, '-5'],
    ['TRACE', 1, 'TRACE'],
    [' Warning ', 13, ' Warning '],
    ['30', 9, '30'],
    ['crit', 18, 'crit'],
    ['emerg', 21, 'emerg'],
    ['\u001b[32minfo\u001b[39m', 9, '\u001b[32minfo\u001b[39m'],
    ['WARN2', 14, 'WARN2'],
    ['trace4', 4, 'trace4'],
    ['error5', 0, 'error5'],
    ['dpanic', 18, 'dpanic'],
    ['E', 17, 'E'],
    ['nonsense', 0, 'nonsense'],
  ])('%s', (level, number, text) => {
    expect(lineOf({ msg: 'x', level }).severity).toEqual({ number, text });
  });

  test('any JSON as a level gives a number of OpenTelemetry’s range', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true }), fc.string(), fc.boolean(), fc.constant(null)), (level) => {
        const { number } = lineOf({ msg: 'x', level }).severity;
        expect(Number.isInteger(number) && number >= 0 && number <= 24).toBe(true);
      }),
    );
  });
});

describe('fields', () => {
  test('the first known name wins, the others stay attributes', () => {
    const line = {
      msg: 'second',
      message: 'first',
      level: 'info',
      severity: 'error',
      name: 'n',
      service: 's',
      time: 1_000_000_000_000,
      ts: 5,
    };
    expect(lineOf(line)).toMatchObject({ body: 'first', severity: { number: 17 }, service: 's', time: { ms: 1e12 } });
    expect(attributesOf(line)).toEqual({ msg: 'second', level: 'info', name: 'n', ts: 5 });
  });

  test('what cannot mean a field stays an attribute', () => {
    expect(
      attributesOf('{"msg":"x","level":null,"service":7,"trace_id":[1],"attributes":"text","resource":3}'),
    ).toEqual({
      level: null,
      service: 7,
      trace_id: [1],
      attributes: 'text',
      resource: 3,
    });
  });

  test('attributes and what has no place are one object, verbatim', () => {
    expect(lineOf('{"msg":"x","attributes":{ "a" : 1.10 },"n":9007199254740993,"__proto__":{"p":1}}').attributes).toBe(
      '{"n":9007199254740993,"__proto__":{"p":1},"a" : 1.10}',
    );
    expect(lineOf('{"msg":"x","attributes":{ },"n":1}').attributes).toBe('{"n":1}');
    expect(lineOf('{"msg":"x","resource":{"host":1}}')).toMatchObject({ resource: '{"host":1}', attributes: '{}' });
  });

  test('without a message the whole text is the body', () => {
    expect(lineOf('\ufeff {"level":"info","n":1} ').body).toBe('{"level":"info","n":1}');
  });

  test('a message that is no string is its JSON', () => {
    expect(lineOf('{"msg":{"a": 1.0},"level":"info"}').body).toBe('{"a": 1.0}');
  });

  test('any object loses none of its members', () => {
    const names = fc.constantFrom(
      'msg',
      'message',
      'level',
      'time2',
      'service',
      'a',
      'b',
      'trace',
      'log',
      'attributes',
      'x.y',
    );
    const values = fc.oneof(
      fc.string(),
      fc.nat(),
      fc.constant(null),
      fc.dictionary(fc.constantFrom('k', 'l', 'name'), fc.nat()),
    );
    fc.assert(
      fc.property(fc.dictionary(names, values), (object) => {
        const line = lineOf(object);
        const found = `${line.body} ${line.attributes} ${line.service} ${String(line['traceId'])} ${line.severity.text} ${line.resource}`;
        for (const [name, value] of Object.entries(object)) {
          const known = ['msg', 'message', 'service', 'level', 'trace'].includes(name);
          const text =
            typeof value === 'string' ? value.toWellFormed().replaceAll('\u0000', '\ufffd') : JSON.stringify(value);
          const inner = JSON.stringify(value).slice(1, -1);
          // A numeric level is told by its OpenTelemetry name.
          const asLevel = name === 'level' && typeof value === 'number';
          expect(asLevel || found.includes(text) || found.includes(inner) || (known && text === '')).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('what cannot be stored', () => {
  test('NUL and lone surrogates never cost a line', () => {
    const line =
      '{"msg":"a\\u0000b\\ud800","level":"\\u0000","service":"s\\u0000","trace_id":"\\udc00","x":"\\u0000","attributes":{"y":"\\ud800"}}';
    expect(lineOf(line)).toMatchObject({
      body: 'a\ufffdb\ufffd',
      severity: { text: '\ufffd' },
      service: 's\ufffd',
      traceId: '\ufffd',
      attributes: '{"x":"\\ufffd","y":"\\ufffd"}',
      sanitised: true,
    });
    expect(lineOf('plain\u0000text')).toMatchObject({ body: 'plain\ufffdtext', sanitised: true, unstructured: true });
    expect(lineOf('level=info msg=a\u0000b')).toMatchObject({ body: 'a\ufffdb', sanitised: true });
    expect(lineOf('{"service":{"name":"a\\u0000"},"msg":"x"}')).toMatchObject({ service: 'a\ufffd' });
  });

  test('in OTLP neither', () => {
    const record = {
      timeUnixNano: '1',
      severityText: 'a\u0000',
      traceId: '\ud800',
      spanId: '\u0000',
      body: { stringValue: '\u0000' },
      attributes: [{ key: 'k\u0000', value: { stringValue: '\udc00' } }],
    };
    const line = lineOf(record);
    expect(line).toMatchObject({
      severity: { text: 'a\ufffd' },
      traceId: '\ufffd',
      spanId: '\ufffd',
      body: '\ufffd',
      sanitised: true,
    });
    expect(JSON.parse(line.attributes)).toEqual({ 'k\ufffd': '\ufffd' });
  });

  test.each([
    ['a tombstone', null, 'null_value'],
    ['broken JSON', '{"msg":"x"', 'malformed_json'],
    ['a raw line feed in a string', '{"msg":"a\nb"}', 'malformed_json'],
    ['bytes that are no UTF-8', Buffer.from([0x61, 0xff]), 'invalid_utf8'],
    ['a key with NUL', '{"\\u0000":1}', 'unstorable_text'],
    ['time infinity', '{"time":"infinity","msg":"x"}', 'invalid_timestamp'],
    ['time true', '{"time":true,"msg":"x"}', 'invalid_timestamp'],
    ['time a map', '{"timestamp":{"s":1},"msg":"x"}', 'invalid_timestamp'],
    ['a zone beyond all', '{"time":"2026-11-01T12:00:00+16:00","msg":"x"}', 'invalid_timestamp'],
    ['a number beyond all', '{"time":1e20,"msg":"x"}', 'timestamp_range'],
    ['more bytes than allowed', Buffer.alloc(limits.maxValueBytes + 1, 0x61), 'too_large'],
    ['100,000 levels', `{"a":${'['.repeat(100_000)}`, 'too_deep'],
  ])('%s: %s', (_what, value, reason) => {
    expect(reasonOf(value)).toBe(reason);
  });

  test('Kafka’s timestamp beyond PostgreSQL’s', () => {
    const decoded = decode(recordOf('text', { timestampMs: 2 ** 63 }));
    expect(decoded).toMatchObject({ kind: 'dead', reason: 'timestamp_range' });
  });

  test('any bytes at all are a row or a dead letter, never a failure', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '"',
      ':',
      ',',
      '[',
      ']',
      'a=1 ',
      'level=info ',
      'msg="',
      '<1>1 - ',
      '- - - - ',
      '\\u0000',
      '{"resourceLogs":[',
      '"timeUnixNano":',
      '1.5',
      '"x"',
      'null',
      '\u0000',
      'ä',
      '\n',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const decoded = decode(recordOf(parts.join('')));
        expect(['row', 'dead']).toContain(decoded.kind);
      }),
      { numRuns: 3000 },
    );
  });

  test('hostile text costs no time', () => {
    const started = process.cpuUsage();
    for (const line of [
      `<1>1 - - - - - ${'[a="'.repeat(50_000)}`,
      `<1>1 - - - - - ${'[a]'.repeat(50_000)}x`,
      `level=info ${'a=1 '.repeat(100_000)}"`,
      `msg="${'\\"'.repeat(200_000)}`,
      'a'.repeat(300_000),
      `<1>1 ${' '.repeat(300_000)}`,
      `level=${'='.repeat(300_000)} a=b`,
    ]) {
      linesOf(line);
    }
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(5000);
  });
});
