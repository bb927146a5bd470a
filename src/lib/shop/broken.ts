import type { RecordHeader } from '../ports.ts';
import type { DeadLetterReason } from '../records/decoded.ts';
import type { ShopTopic } from './types.ts';

/** A record that cannot be stored, and why. */
export interface Broken {
  readonly name: string;
  readonly reason: DeadLetterReason;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

interface BrokenClass {
  readonly name: string;
  readonly reason: DeadLetterReason;
  readonly value: (id: string, time: string) => string | Buffer | null;
  readonly headers?: readonly RecordHeader[];
}

const event = (attributes: string): string => `{${attributes},"data":{"orderId":"broken","status":"created"}}`;
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Ways in which a producer of events gets it wrong. */
const brokenEvents: readonly BrokenClass[] = [
  {
    name: 'cut short',
    reason: 'malformed_json',
    value: (id, time) => `{"id":"${id}","type":"order.paid","time":"${time}","data":{"orderId":"br`,
  },
  {
    name: 'python repr',
    reason: 'malformed_json',
    value: (id) => `{'id': '${id}', 'type': 'order.paid', 'data': None}`,
  },
  {
    name: 'NaN',
    reason: 'malformed_json',
    value: (id, time) => `{"id":"${id}","type":"order.paid","time":"${time}","data":{"amountCents":NaN}}`,
  },
  { name: 'no id', reason: 'schema', value: (_id, time) => event(`"type":"order.created","time":"${time}"`) },
  { name: 'no type', reason: 'schema', value: (id, time) => event(`"id":"${id}","time":"${time}"`) },
  {
    name: 'id a number',
    reason: 'schema',
    value: (_id, time) => event(`"id":4711,"type":"order.created","time":"${time}"`),
  },
  { name: 'a bare number', reason: 'schema', value: () => '42' },
  {
    name: 'NUL in the id',
    reason: 'invalid_id',
    value: (id, time) => event(`"id":"${id}\\u0000","type":"order.created","time":"${time}"`),
  },
  {
    name: 'id too long',
    reason: 'invalid_id',
    value: (id, time) => event(`"id":"${id}${'x'.repeat(600)}","type":"order.created","time":"${time}"`),
  },
  {
    name: 'two ids',
    reason: 'ambiguous_id',
    value: (id, time) => event(`"id":"${id}","id":"${id}-2","type":"order.created","time":"${time}"`),
  },
  {
    name: 'ISO 8859-1',
    reason: 'invalid_utf8',
    value: (id, time) => latin1(event(`"id":"${id}","type":"order.created","time":"${time}","customer":"Björn"`)),
  },
  {
    name: 'time infinity',
    reason: 'invalid_timestamp',
    value: (id) => event(`"id":"${id}","type":"order.created","time":"infinity"`),
  },
  {
    name: 'time 01/02/03',
    reason: 'invalid_timestamp',
    value: (id) => event(`"id":"${id}","type":"order.created","time":"01/02/03"`),
  },
  {
    name: '30 February',
    reason: 'invalid_timestamp',
    value: (id) => event(`"id":"${id}","type":"order.created","time":"2026-02-30T00:00:00Z"`),
  },
  {
    name: 'time in nanoseconds',
    reason: 'timestamp_range',
    value: (id) => event(`"id":"${id}","type":"order.created","time":1795407043210000000`),
  },
  {
    name: 'lone surrogate in a key',
    reason: 'unstorable_text',
    value: (id, time) => `{"id":"${id}","type":"order.created","time":"${time}","data":{"\\ud800":1}}`,
  },
  {
    name: 'too deep',
    reason: 'too_deep',
    value: (id, time) =>
      `{"id":"${id}","type":"order.created","time":"${time}","data":${'['.repeat(6000)}${']'.repeat(6000)}}`,
  },
  { name: 'tombstone', reason: 'null_value', value: () => null },
  {
    name: 'binary mode without ce_id',
    reason: 'schema',
    value: () => '{"orderId":"broken"}',
    headers: [
      ['ce_specversion', Buffer.from('1.0')],
      ['ce_type', Buffer.from('order.created')],
      ['content-type', Buffer.from('application/json')],
    ],
  },
];

/** Right as events, but without what the projection of orders needs as its key. */
const unprojectable: readonly BrokenClass[] = [
  {
    name: 'no order id',
    reason: 'projection_type',
    value: (id, time) => `{"id":"${id}","type":"order.paid","time":"${time}","data":{"status":"paid"}}`,
  },
  {
    name: 'order id an object',
    reason: 'projection_type',
    value: (id, time) => `{"id":"${id}","type":"order.paid","time":"${time}","data":{"orderId":{"n":1}}}`,
  },
];

/** Text that is not JSON is stored as text: a broken log line claims to be JSON, or is not even text. */
const brokenLogs: readonly BrokenClass[] = [
  {
    name: 'time infinity',
    reason: 'invalid_timestamp',
    value: (id) => `{"level":30,"time":"infinity","service":"checkout-api","msg":"${id}"}`,
  },
  {
    name: 'zone out of range',
    reason: 'invalid_timestamp',
    value: (id) => `{"level":30,"time":"2026-01-01T00:00:00+16:00","msg":"${id}"}`,
  },
  {
    name: 'time beyond every unit',
    reason: 'timestamp_range',
    value: (id) => `{"level":30,"time":1e30,"msg":"${id}"}`,
  },
  {
    name: 'ISO 8859-1',
    reason: 'invalid_utf8',
    value: (id) => latin1(`{"level":30,"service":"checkout-api","msg":"café ${id}"}`),
  },
  {
    name: 'cut inside a character',
    reason: 'invalid_utf8',
    value: (id) => Buffer.concat([Buffer.from(`${id} paid 12 `), Buffer.from([0xe2, 0x82])]),
  },
  {
    name: 'raw newline in a string',
    reason: 'malformed_json',
    value: (id, time) => `{"time":"${time}","level":"error","msg":"${id}\n    at run"}`,
  },
  {
    name: 'lone surrogate in a key',
    reason: 'unstorable_text',
    value: (id, time) => `{"time":"${time}","level":"info","\\udc00":"${id}"}`,
  },
  {
    name: 'too deep',
    reason: 'too_deep',
    value: (id) => `{"msg":"${id}","context":${'['.repeat(6000)}${']'.repeat(6000)}}`,
  },
  { name: 'tombstone', reason: 'null_value', value: () => null },
];

/** The broken records of a topic, class after class. */
export class BrokenRecords {
  readonly #classes: readonly BrokenClass[];
  #made = 0;

  constructor(topic: ShopTopic, ordersProjected: boolean) {
    this.#classes =
      topic === 'logs'
        ? brokenLogs
        : topic === 'events' && ordersProjected
          ? [...brokenEvents, ...unprojectable]
          : brokenEvents;
  }

  next(id: string, timeMs: number): Broken {
    const broken = this.#classes[this.#made % this.#classes.length];
    this.#made += 1;
    if (broken === undefined) {
      throw new RangeError('a topic without classes of broken records');
    }
    const { name, reason, headers = [] } = broken;
    const value = broken.value(id, new Date(timeMs).toISOString());
    return { name, reason, headers, value: typeof value === 'string' ? Buffer.from(value) : value };
  }
}
