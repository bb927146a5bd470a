import { emptyObject, type LogLine } from './log-line.ts';
import { severityFromName, severityFromSyslog, unspecifiedSeverity } from './severity.ts';
import { parseRfc3339, type Timestamp } from './timestamp.ts';

/** A line that is not JSON: logfmt, RFC 5424 syslog, or plain text. It is always storable. */
export function decodeLogText(text: string, sanitised: boolean): LogLine {
  const line = decodeSyslog(text) ?? decodeLogfmt(text) ?? { ...plain, body: text };
  return { ...line, sanitised };
}

const plain: LogLine = {
  time: null,
  severity: unspecifiedSeverity,
  service: null,
  traceId: null,
  spanId: null,
  body: '',
  attributes: emptyObject,
  resource: emptyObject,
  unstructured: true,
  sanitised: false,
};

/** RFC 5424, section 6: <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG, `-` for none. */
const syslog =
  /^<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (-|(?:\[(?:[^\]\\"]|"(?:[^"\\]|\\.)*")*\])+)(?: ([\s\S]*))?$/;

function decodeSyslog(text: string): LogLine | null {
  const match = syslog.exec(text);
  const priority = Number(match?.[1]);
  if (match === null || priority > 191) {
    return null;
  }
  const [, , stamp = '-', host = '-', app = '-', process = '-', messageId = '-', structured = '-', message = ''] =
    match;
  const attributes = {
    ...(host === '-' ? {} : { 'host.name': host }),
    ...(process === '-' ? {} : { 'process.pid': process }),
    ...(messageId === '-' ? {} : { 'syslog.msgid': messageId }),
    ...(structured === '-' ? {} : { 'syslog.structured_data': structured }),
    'syslog.facility': priority >> 3,
  };
  return {
    ...plain,
    time: stamp === '-' ? null : timeOrNull(stamp),
    severity: severityFromSyslog(priority & 7),
    service: app === '-' ? null : app,
    body: message.replace(/^\ufeff/, ''),
    attributes: Buffer.from(JSON.stringify(attributes)),
    unstructured: false,
  };
}

const pair = /([A-Za-z_@][\w.@/-]*)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)/gy;
const timeNames = ['time', 'timestamp', '@timestamp', 'ts'];
const levelNames = ['level', 'lvl', 'severity'];
const serviceNames = ['service', 'service.name', 'app', 'component'];
const bodyNames = ['msg', 'message'];
const traceNames = ['trace_id', 'traceId', 'trace.id', 'traceID'];
const spanNames = ['span_id', 'spanId', 'span.id', 'spanID'];

/** logfmt: the whole line is `key=value` pairs, and a message or a level is among them. */
function decodeLogfmt(text: string): LogLine | null {
  const trimmed = text.trim();
  const pairs = new Map<string, string>();
  let covered = 0;
  for (const match of trimmed.matchAll(pair)) {
    pairs.set(match[1] ?? '', match[2] === undefined ? (match[3] ?? '') : unquote(match[2]));
    covered = match.index + match[0].length;
  }
  const take = (names: readonly string[]): string | null => {
    const name = names.find((candidate) => pairs.has(candidate));
    const value = name === undefined ? null : (pairs.get(name) ?? null);
    if (name !== undefined) {
      pairs.delete(name);
    }
    return value;
  };
  if (covered < trimmed.length || pairs.size < 2 || ![...bodyNames, ...levelNames].some((name) => pairs.has(name))) {
    return null;
  }
  const stamp = timeNames
    .map((name) => [name, timeOrNull(pairs.get(name) ?? '')] as const)
    .find(([, time]) => time !== null);
  if (stamp !== undefined) {
    pairs.delete(stamp[0]);
  }
  const level = take(levelNames);
  return {
    ...plain,
    time: stamp?.[1] ?? null,
    severity: level === null ? unspecifiedSeverity : severityFromName(level),
    service: take(serviceNames),
    traceId: take(traceNames),
    spanId: take(spanNames),
    body: take(bodyNames) ?? trimmed,
    attributes: pairs.size === 0 ? emptyObject : Buffer.from(JSON.stringify(Object.fromEntries(pairs))),
    unstructured: false,
  };
}

function unquote(text: string): string {
  const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };
  return text.replaceAll(/\\(.)/g, (_, character: string) => escapes[character] ?? character);
}

/** In free text a time that is not one is no reason to lose the line: the observed time stands in. */
function timeOrNull(text: string): Timestamp | null {
  const time = parseRfc3339(text);
  return typeof time === 'string' ? null : time;
}
