import { KpipeError } from '../errors.ts';
import type { RecordHeader, SourceRecord, TopicPartition } from '../ports.ts';

/**
 * `--format '%t/%p@%o %k\n'`: what is printed of each record, byte for byte. A template is taken apart once.
 *
 * ```
 * %t topic   %p partition   %o offset   %d timestamp (ms)   %D timestamp (RFC 3339)
 * %k key     %v value       %K %V their lengths (-1: null)
 * %h headers, name=value, comma-separated   %h{NAME} the last header of that name   %H how many
 * %%  and  \n \t \r \0 \\ \xHH
 * ```
 */
export type RecordFormat = (
  at: TopicPartition,
  record: SourceRecord,
  /** Makes what comes from the record safe for where it is printed; the template's own text is not touched. */
  guard?: (text: Buffer) => Buffer,
) => Buffer;

type Part = (at: TopicPartition, record: SourceRecord) => Buffer;

interface TemplatePart {
  readonly render: Part;
  readonly isLiteral: boolean;
}

const bytes = (text: string): Buffer => Buffer.from(text);
const none = Buffer.alloc(0);

const verbs: Readonly<Record<string, Part>> = {
  '%': () => bytes('%'),
  t: ({ topic }) => bytes(topic),
  p: ({ partition }) => bytes(String(partition)),
  o: (_at, { offset }) => bytes(offset.toString()),
  d: (_at, { timestampMs }) => bytes(String(timestampMs)),
  D: (_at, { timestampMs }) => bytes(timeText(timestampMs)),
  k: (_at, { key }) => key ?? none,
  v: (_at, { value }) => value ?? none,
  K: (_at, { key }) => bytes(String(key?.length ?? -1)),
  V: (_at, { value }) => bytes(String(value?.length ?? -1)),
  h: (_at, { headers }) => joined(headers),
  H: (_at, { headers }) => bytes(String(headers.length)),
};

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', '\\': '\\' };

/** @throws KPIPE_USAGE naming what is not known */
export function parseRecordFormat(template: string): RecordFormat {
  const parts: TemplatePart[] = [];
  const tokens = /%h\{([^}]*)\}|%(.?)|\\x([0-9a-fA-F]{2})|\\(.?)|[^%\\]+/gsu;
  for (const [token, headerName, verb, hex, escape] of template.matchAll(tokens)) {
    parts.push(partOf(token, { headerName, verb, hex, escape }, template));
  }
  return (at, record, guard) =>
    Buffer.concat(
      parts.map(({ render, isLiteral }) =>
        guard === undefined || isLiteral ? render(at, record) : guard(render(at, record)),
      ),
    );
}

interface Token {
  readonly headerName: string | undefined;
  readonly verb: string | undefined;
  readonly hex: string | undefined;
  readonly escape: string | undefined;
}

function partOf(token: string, { headerName, verb, hex, escape }: Token, template: string): TemplatePart {
  if (headerName !== undefined) {
    const last: Part = (_at, { headers }) => headers.findLast(([name]) => name === headerName)?.[1] ?? none;
    return { render: last, isLiteral: false };
  }
  if (hex !== undefined) {
    const byte = Buffer.from(hex, 'hex');
    return { render: () => byte, isLiteral: true };
  }
  if (verb !== undefined) {
    const render = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    return render === undefined ? unknown(token, template) : { render, isLiteral: false };
  }
  const text = escape === undefined ? token : Object.hasOwn(escapes, escape) ? escapes[escape] : undefined;
  if (text === undefined) {
    return unknown(token, template);
  }
  const literal = bytes(text);
  return { render: () => literal, isLiteral: true };
}

function unknown(token: string, template: string): never {
  throw new KpipeError('KPIPE_USAGE', `--format: ${token} means nothing in ${template}`, {
    next: 'there are %t %p %o %d %D %k %v %K %V %h %h{NAME} %H %%, and \\n \\t \\r \\0 \\xHH \\\\',
  });
}

function joined(headers: readonly RecordHeader[]): Buffer {
  return Buffer.concat(
    headers.flatMap(([name, value], index) => [bytes(`${index === 0 ? '' : ','}${name}=`), value ?? none]),
  );
}

/** RFC 3339; the number where no calendar holds it. */
export function timeText(timestampMs: number): string {
  const date = new Date(timestampMs);
  return Number.isNaN(date.getTime()) ? String(timestampMs) : date.toISOString();
}
