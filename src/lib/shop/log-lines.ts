import { failures, jobs, routes, userAgents, type Failure } from './catalogue.ts';
import type { Random } from './random.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** One thing to log, before it has a shape. */
export interface LogEntry {
  readonly level: Level;
  readonly service: string;
  readonly host: string;
  readonly timeMs: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
  readonly failure: Failure | null;
}

const hosts = ['shop-7d9f6c-x2k4p', 'shop-7d9f6c-m8q1z', 'shop-58b7d4-tt9wl'] as const;

/** A line of a backend API's access log. */
export function accessEntry(random: Random, timeMs: number): LogEntry {
  const [method, path, typicalMs] = random.pick(routes);
  const fate = random.below(100);
  const status =
    fate < 88
      ? method === 'POST'
        ? 201
        : 200
      : fate < 95
        ? random.pick([400, 401, 404, 409, 429])
        : random.pick([500, 502, 503]);
  const durationMs = Math.round(typicalMs * (0.5 + random.below(1000) / 500) * 10) / 10;
  const level: Level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info';
  const message = status >= 500 ? 'request failed' : 'request completed';
  const fields = {
    method,
    path,
    status,
    durationMs,
    clientIp: `10.${random.below(256)}.${random.below(256)}.${random.below(256)}`,
    userAgent: random.pick(userAgents),
  };
  return {
    ...common(random, 'checkout-api', timeMs),
    level,
    message,
    fields,
    failure: level === 'error' ? random.pick(failures) : null,
  };
}

/** A line of a background worker's job log. */
export function jobEntry(random: Random, timeMs: number): LogEntry {
  const [queue, job, typicalMs] = random.pick(jobs);
  const durationMs = Math.round(typicalMs * (0.4 + random.below(1000) / 400));
  const fields = { queue, job, jobId: `${queue}:${random.below(1_000_000)}`, attempt: 1, durationMs };
  const fate = random.below(100);
  const base = { ...common(random, `${queue}-worker`, timeMs), failure: null };
  if (fate < 20) {
    return { ...base, level: 'debug', message: `took ${job} from the queue`, fields };
  }
  if (fate < 90) {
    return { ...base, level: 'info', message: `${job} done in ${durationMs} ms`, fields };
  }
  const attempt = 1 + random.below(5);
  const level: Level = attempt < 4 ? 'warn' : 'error';
  const message = attempt < 4 ? `${job} failed, will retry (attempt ${attempt} of 5)` : `${job} failed for good`;
  return { ...base, level, message, fields: { ...fields, attempt }, failure: random.pick(failures) };
}

function common(random: Random, service: string, timeMs: number) {
  return { service, timeMs, host: random.pick(hosts), traceId: random.hex(32), spanId: random.hex(16) };
}

/** A log line in one of the shapes that loggers write; pino's mostly. */
export function encodeLog(entry: LogEntry, random: Random): Buffer {
  const shape = random.below(100);
  if (shape < 62) {
    return Buffer.from(pino(entry));
  }
  if (shape < 76) {
    return Buffer.from(ecs(entry));
  }
  if (shape < 82) {
    return Buffer.from(winston(entry));
  }
  if (shape < 92) {
    return Buffer.from(logfmt(entry));
  }
  return Buffer.from(shape < 96 ? syslog(entry) : plainText(entry));
}

const pinoLevels: Readonly<Record<Level, number>> = { debug: 20, info: 30, warn: 40, error: 50 };
const syslogSeverities: Readonly<Record<Level, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

function pino({ level, timeMs, host, service, traceId, spanId, fields, failure, message }: LogEntry): string {
  const err = failure === null ? {} : { err: failure };
  const head = {
    level: pinoLevels[level],
    time: timeMs,
    pid: 17,
    hostname: host,
    service,
    trace_id: traceId,
    span_id: spanId,
  };
  return JSON.stringify({ ...head, ...fields, ...err, msg: message });
}

function ecs({ level, timeMs, host, service, traceId, spanId, fields, failure, message }: LogEntry): string {
  return JSON.stringify({
    '@timestamp': new Date(timeMs).toISOString(),
    'log.level': level,
    message,
    'ecs.version': '8.11.0',
    'service.name': service,
    'host.name': host,
    'trace.id': traceId,
    'span.id': spanId,
    ...(failure === null
      ? {}
      : { error: { type: failure.type, message: failure.message, stack_trace: failure.stack } }),
    labels: fields,
  });
}

function winston({ level, timeMs, service, traceId, fields, failure, message }: LogEntry): string {
  const stack = failure === null ? {} : { stack: failure.stack };
  return JSON.stringify({
    level,
    message,
    timestamp: new Date(timeMs).toISOString(),
    service,
    traceId,
    ...fields,
    ...stack,
  });
}

function logfmt({ level, timeMs, service, traceId, spanId, fields, failure, message }: LogEntry): string {
  const rest = Object.entries(failure === null ? fields : { ...fields, err: failure.message });
  const pairs = rest.map(([name, value]) => `${name}=${typeof value === 'number' ? value : JSON.stringify(value)}`);
  const head = `time=${new Date(timeMs).toISOString()} level=${level} service=${service} trace_id=${traceId} span_id=${spanId}`;
  return `${head} msg=${JSON.stringify(message)} ${pairs.join(' ')}`;
}

/** RFC 5424, facility local0. */
function syslog({ level, timeMs, host, service, traceId, message }: LogEntry): string {
  const priority = 16 * 8 + syslogSeverities[level];
  return `<${priority}>1 ${new Date(timeMs).toISOString()} ${host} ${service} 17 - [trace@32473 id="${traceId}"] ${message}`;
}

/** What a process prints when nobody configured a logger: a stack trace, or a bare line. */
function plainText({ level, timeMs, failure, message }: LogEntry): string {
  const line = `${new Date(timeMs).toISOString().replace('T', ' ').slice(0, 19)} ${level.toUpperCase()} ${message}`;
  return failure === null ? line : `${line}\n${failure.stack}`;
}
