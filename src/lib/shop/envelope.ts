import type { RecordHeader } from '../ports.ts';
import type { Random } from './random.ts';

export interface Envelope {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly timeMs: number;
  /** JSON text. */
  readonly data: string;
}

export interface Encoded {
  readonly value: Buffer;
  readonly headers: readonly RecordHeader[];
}

const structuredHeaders: readonly RecordHeader[] = [
  ['content-type', Buffer.from('application/cloudevents+json; charset=utf-8')],
];
const jsonType: RecordHeader = ['content-type', Buffer.from('application/json')];
const specVersion: RecordHeader = ['ce_specversion', Buffer.from('1.0')];

/** An event as services send it: CloudEvents 1.0 structured mostly, some in binary mode, some bare JSON. */
export function encodeEvent(event: Envelope, random: Random): Encoded {
  const mode = random.below(100);
  if (mode < 75) {
    return { value: encodeStructured(event), headers: structuredHeaders };
  }
  return mode < 90 ? encodeBinaryMode(event) : { value: encodeBare(event), headers: [] };
}

// Written by hand, not by JSON.stringify, for speed: no attribute here needs escaping.
function encodeStructured({ id, source, type, subject, timeMs, data }: Envelope): Buffer {
  const time = new Date(timeMs).toISOString();
  return Buffer.from(
    `{"specversion":"1.0","id":"${id}","source":"${source}","type":"${type}","subject":"${subject}","time":"${time}","datacontenttype":"application/json","data":${data}}`,
  );
}

function encodeBinaryMode(event: Envelope): Encoded {
  const header = (name: string, text: string): RecordHeader => [name, Buffer.from(text)];
  return {
    value: Buffer.from(event.data),
    headers: [
      specVersion,
      header('ce_id', event.id),
      header('ce_source', event.source),
      header('ce_type', event.type),
      header('ce_subject', event.subject),
      header('ce_time', new Date(event.timeMs).toISOString()),
      jsonType,
    ],
  };
}

/** The attribute names of CloudEvents without its specversion. A number as the time is epoch milliseconds. */
function encodeBare({ id, source, type, subject, timeMs, data }: Envelope): Buffer {
  return Buffer.from(
    `{"id":"${id}","source":"${source}","type":"${type}","subject":"${subject}","time":${timeMs},"data":${data}}`,
  );
}
