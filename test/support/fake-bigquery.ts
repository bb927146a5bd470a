import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A small server of the part of BigQuery's REST API that kpipe's load jobs and tables need, for what no stand-in does: job
 * ids that run once, quotas, 429 and 5xx, rows that are refused, replies that are lost, a schema that lags. Written from
 * the public reference (https://cloud.google.com/bigquery/docs/reference/rest/v2). Where it differs from Google's:
 *
 * - one project; tables are lists of rows in memory, and the location is always US
 * - a load job reads newline-delimited JSON only, from one multipart upload, and appends; it ends at once, or after as many
 *   looks as a test says. Google's runs for seconds to minutes
 * - all refused rows of a job are named, up to five; Google names the first that each of its workers meets
 * - types are checked as far as JSON tells them: strings, integers of 64 bits, numbers, timestamps by their form
 * - JSON is kept as its text and not normalised; a number beyond a double is refused, as the reference says
 * - a query is not parsed: it counts the rows that its named parameters select, or (a job) answers nothing
 * - quotas are what a test sets, counted from the start
 */
export interface FakeBigQuery {
  readonly endpoint: string;
  /** Rows that are visible, over all tables. */
  readonly rows: readonly FakeRow[];
  /** Jobs that were created, in order. */
  readonly jobs: readonly FakeJob[];
  /** What a request meets before or after it has had its effect; undefined: nothing. */
  onRequest: (request: FakeRequest) => FakeFault | undefined;
  /** Why a row is refused; undefined: it is not. */
  refuse: (row: FakeRow) => string | undefined;
  /** How many looks at a load job find it running. */
  running: number;
  /** Load jobs that fail with quotaExceeded when they are more. */
  jobQuota: number;
  /** Load jobs that still see the table without the columns that were added last. */
  schemaLag: number;
  /** As if BigQuery had forgotten all jobs. */
  forgetJobs(): void;
  close(): Promise<void>;
}

export interface FakeRow {
  readonly table: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
  /** The line as it was sent. */
  readonly line: string;
}

export interface FakeJob {
  readonly id: string;
  readonly kind: 'load' | 'query';
  readonly table: string;
  readonly atMs: number;
}

export interface FakeRequest {
  readonly kind: 'load' | 'void' | 'look' | 'query' | 'table' | 'dataset';
  /** The job's id, the table's or the dataset's name. */
  readonly name: string;
}

/** `lost`: the effect happens and the reply is cut; `cut`: no effect, no reply; else the answer, without an effect. */
export type FakeFault = 'lost' | 'cut' | { readonly status: number; readonly reason: string };

interface Field {
  readonly name: string;
  readonly type: string;
  readonly mode?: string;
}

interface Table {
  metadata: Record<string, unknown>;
  fields: readonly Field[];
  /** What lagging load jobs see. */
  before: readonly Field[];
}

interface Job extends FakeJob {
  looks: number;
  readonly load: boolean;
  readonly errors: readonly { readonly reason: string; readonly message: string }[];
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

const refusal = (status: number, reason: string, message = reason): Answer => ({
  status,
  body: { error: { code: status, message, errors: [{ reason, message, domain: 'global' }] } },
});
const ok = (body: object): Answer => ({ status: 200, body });

export async function startFakeBigQuery(): Promise<FakeBigQuery> {
  const state = new State();
  const server = createServer((request, response) => {
    handle(state, request, response).catch((error: unknown) =>
      response.destroy(error instanceof Error ? error : undefined),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    endpoint: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

class State {
  rows: FakeRow[] = [];
  jobs: FakeJob[] = [];
  running = 0;
  jobQuota = Number.POSITIVE_INFINITY;
  schemaLag = 0;
  onRequest: FakeBigQuery['onRequest'] = () => undefined;
  refuse: FakeBigQuery['refuse'] = () => undefined;
  readonly datasets = new Map<string, Record<string, unknown>>();
  readonly tables = new Map<string, Table>();
  readonly known = new Map<string, Job>();

  forgetJobs(): void {
    this.known.clear();
  }

  createJob(id: string, kind: 'load' | 'query', table: string, errors: Job['errors']): Answer {
    const job: Job = { id, kind, table, atMs: performance.now(), looks: 0, load: kind === 'load', errors };
    this.known.set(id, job);
    this.jobs.push(job);
    return this.describe(job);
  }

  describe(job: Job): Answer {
    const isDone = job.kind === 'query' || job.looks > this.running;
    const [first] = job.errors;
    const status = isDone
      ? { state: 'DONE', ...(first === undefined ? {} : { errorResult: first, errors: job.errors }) }
      : { state: 'RUNNING' };
    const configuration = job.load ? { load: {}, jobType: 'LOAD' } : { query: {}, jobType: 'QUERY' };
    const jobReference = { projectId: 'fake', jobId: job.id, location: 'US' };
    return ok({ kind: 'bigquery#job', id: `fake:US.${job.id}`, jobReference, configuration, status });
  }

  load(id: string, table: string, body: string): Answer {
    if (this.known.has(id)) {
      return refusal(409, 'duplicate', `Already Exists: Job fake:US.${id}`);
    }
    const target = this.tables.get(table);
    if (target === undefined) {
      return this.createJob(id, 'load', table, [{ reason: 'notFound', message: `Not found: Table ${table}` }]);
    }
    if (this.jobs.filter(({ kind }) => kind === 'load').length >= this.jobQuota) {
      return this.createJob(id, 'load', table, [
        { reason: 'quotaExceeded', message: 'Quota exceeded: Your table exceeded quota for imports' },
      ]);
    }
    const fields = this.schemaLag > 0 ? target.before : target.fields;
    this.schemaLag = Math.max(0, this.schemaLag - 1);
    const { rows, errors } = readRows(body, table, fields, this.refuse);
    if (errors.length === 0) {
      this.rows.push(...rows);
    }
    return this.createJob(id, 'load', table, errors);
  }
}

async function handle(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  const call = parseCall(request, Buffer.concat(chunks));
  const fault = state.onRequest({ kind: call.kind, name: call.name });
  if (fault === 'cut') {
    response.destroy();
    return;
  }
  const answer =
    fault === undefined || fault === 'lost' ? act(state, call) : refusal(fault.status, fault.reason, fault.reason);
  if (fault === 'lost') {
    response.destroy();
    return;
  }
  response.writeHead(answer.status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer.body));
}

interface Call extends FakeRequest {
  readonly method: string;
  readonly dataset: string;
  readonly json: Record<string, unknown>;
  readonly lines: string;
}

function parseCall(request: IncomingMessage, body: Buffer): Call {
  const { pathname } = new URL(request.url ?? '/', 'http://fake');
  const method = request.method ?? 'GET';
  const isUpload = pathname.startsWith('/upload/');
  const { json, lines } = isUpload ? readMultipart(request, body) : { json: parseJson(body.toString()), lines: '' };
  const [, kind = '', first = '', , second = ''] =
    /\/projects\/[^/]+\/(\w+)(?:\/([^/]+))?(\/tables(?:\/([^/]+))?)?/.exec(pathname) ?? [];
  const common = { method, json, lines, dataset: first };
  if (kind === 'queries') {
    return { ...common, kind: 'query', name: '' };
  }
  if (kind === 'jobs') {
    const jobId = textAt(json, 'jobReference', 'jobId') ?? first;
    return { ...common, kind: isUpload ? 'load' : method === 'POST' ? 'void' : 'look', name: jobId };
  }
  if (pathname.includes('/tables')) {
    return {
      ...common,
      kind: 'table',
      name: second === '' ? (textAt(json, 'tableReference', 'tableId') ?? '') : second,
    };
  }
  return {
    ...common,
    kind: 'dataset',
    name: first === '' ? (textAt(json, 'datasetReference', 'datasetId') ?? '') : first,
  };
}

function act(state: State, call: Call): Answer {
  switch (call.kind) {
    case 'load': {
      const target = reach(call.json, 'configuration', 'load', 'destinationTable');
      return state.load(
        call.name,
        `${textAt(target, 'datasetId') ?? ''}.${textAt(target, 'tableId') ?? ''}`,
        call.lines,
      );
    }
    case 'void':
      return state.known.has(call.name)
        ? refusal(409, 'duplicate', `Already Exists: Job fake:US.${call.name}`)
        : state.createJob(call.name, 'query', '', []);
    case 'look': {
      const job = state.known.get(call.name);
      if (job === undefined) {
        return refusal(404, 'notFound', `Not found: Job fake:US.${call.name}`);
      }
      job.looks += 1;
      return state.describe(job);
    }
    case 'query':
      return countRows(state, call.json);
    case 'table':
      return actOnTable(state, call);
    case 'dataset':
      return actOnDataset(state, call);
  }
}

function actOnDataset({ datasets }: State, { method, name, json }: Call): Answer {
  const found = datasets.get(name);
  if (method === 'POST') {
    if (found !== undefined) {
      return refusal(409, 'duplicate');
    }
    datasets.set(name, { ...json, location: 'US' });
    return ok(datasets.get(name) ?? {});
  }
  return found === undefined ? refusal(404, 'notFound', `Not found: Dataset ${name}`) : ok(found);
}

function actOnTable({ tables }: State, { method, dataset, name, json }: Call): Answer {
  const path = `${dataset}.${name}`;
  const found = tables.get(path);
  if (method === 'POST') {
    if (found !== undefined) {
      return refusal(409, 'duplicate');
    }
    tables.set(path, { metadata: json, fields: fieldsOf(json), before: fieldsOf(json) });
    return ok(json);
  }
  if (found === undefined) {
    return refusal(404, 'notFound', `Not found: Table ${path}`);
  }
  if (method === 'PATCH') {
    const wanted = json['schema'] === undefined ? found.fields : fieldsOf(json);
    const lost = found.fields.find(({ name: column }) => !wanted.some((field) => field.name === column));
    if (lost !== undefined) {
      return refusal(
        400,
        'invalid',
        `Provided Schema does not match Table ${path}. Field ${lost.name} is missing in new schema`,
      );
    }
    found.before = found.fields;
    found.fields = wanted;
    found.metadata = { ...found.metadata, ...json };
  }
  return ok(found.metadata);
}

/** Counts what the named parameters select, whatever else the text says. */
function countRows({ rows }: State, json: Record<string, unknown>): Answer {
  const given = json['queryParameters'];
  const values = new Map(
    (Array.isArray(given) ? given : []).map((each: unknown) => [
      textAt(each, 'name') ?? '',
      textAt(each, 'parameterValue', 'value') ?? '',
    ]),
  );
  const at = (name: string): string | undefined => values.get(name);
  const count = rows.filter(
    (row) =>
      (at('topic') ?? row.topic) === row.topic &&
      Number(at('partition') ?? row.partition) === row.partition &&
      row.offset >= Number(at('from_offset') ?? 0) &&
      row.offset < Number(at('to_offset') ?? Number.MAX_SAFE_INTEGER),
  ).length;
  return ok({
    jobComplete: true,
    jobReference: { projectId: 'fake', jobId: 'query', location: 'US' },
    totalRows: '1',
    schema: { fields: [{ name: 'row_count', type: 'INTEGER', mode: 'NULLABLE' }] },
    rows: [{ f: [{ v: String(count) }] }],
  });
}

function readRows(
  body: string,
  table: string,
  fields: readonly Field[],
  refuse: FakeBigQuery['refuse'],
): { readonly rows: readonly FakeRow[]; readonly errors: Job['errors'] } {
  const rows: FakeRow[] = [];
  const problems: string[] = [];
  let position = 0;
  for (const line of body.split('\n')) {
    if (line !== '') {
      const problem = problemOf(line, fields);
      const row = problem === undefined ? rowOf(line, table) : undefined;
      const why = row === undefined ? problem : refuse(row);
      if (why === undefined && row !== undefined) {
        rows.push(row);
      } else {
        problems.push(
          `Error while reading data, error message: JSON parsing error in row starting at position ${position}: ${why ?? ''}`,
        );
      }
    }
    position += Buffer.byteLength(line) + 1;
  }
  if (problems.length === 0) {
    return { rows, errors: [] };
  }
  const total = `Error while reading data, error message: JSON table encountered too many errors, giving up. Rows: ${rows.length}; errors: ${problems.length}. Please look into the errors[] collection for more details.`;
  return { rows, errors: [total, ...problems.slice(0, 5)].map((message) => ({ reason: 'invalid', message })) };
}

function rowOf(line: string, table: string): FakeRow {
  const row = parseJson(line);
  return {
    table,
    topic: String(row['kafka_topic']),
    partition: Number(row['kafka_partition']),
    offset: Number(row['kafka_offset']),
    id: String(row['id']),
    line,
  };
}

function problemOf(line: string, fields: readonly Field[]): string | undefined {
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return 'Parser terminated before end of string';
  }
  for (const name of Object.keys(row)) {
    if (!fields.some((field) => field.name.toLowerCase() === name.toLowerCase())) {
      return `No such field: ${name}.`;
    }
  }
  for (const { name, type, mode } of fields) {
    const value = row[name];
    if (mode === 'REQUIRED' && (value === undefined || value === null)) {
      return `Missing required field: ${name}.`;
    }
    const isFit =
      mode === 'REPEATED' ? Array.isArray(value) && value.every((each) => fits(each, type)) : fits(value, type);
    if (value !== undefined && value !== null && !isFit) {
      return `Could not convert value to ${type}. Field: ${name}`;
    }
  }
  return undefined;
}

/** No type has a null in an array. */
function fits(value: unknown, type: string): boolean {
  switch (type) {
    case 'INT64':
    case 'INTEGER':
      return /^-?\d{1,19}$/.test(String(value));
    case 'FLOAT64':
    case 'FLOAT':
    case 'NUMERIC':
    case 'BIGNUMERIC':
      return ['number', 'string'].includes(typeof value) && value !== '' && Number.isFinite(Number(value));
    case 'BOOL':
    case 'BOOLEAN':
      return typeof value === 'boolean';
    case 'TIMESTAMP':
      return typeof value === 'string' && /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC$/.test(value);
    case 'DATE':
      return typeof value === 'string' && /^\d{4}-\d\d-\d\d$/.test(value);
    case 'JSON':
      return isFinite64(value);
    default:
      return typeof value === 'string';
  }
}

/** JSON.parse makes Infinity of what is beyond a double, at any depth. */
function isFinite64(value: unknown): boolean {
  if (typeof value === 'number') {
    return Number.isFinite(value);
  }
  return typeof value !== 'object' || value === null || Object.values(value).every(isFinite64);
}

function fieldsOf(json: unknown): readonly Field[] {
  const fields = reach(json, 'schema', 'fields');
  return Array.isArray(fields) ? (fields as readonly Field[]) : [];
}

function readMultipart(request: IncomingMessage, body: Buffer): { json: Record<string, unknown>; lines: string } {
  const boundary = /boundary="?([^";]+)"?/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
  const [, metadata = '', content = ''] = body.toString().split(`--${boundary}`);
  const bodyOf = (part: string): string => part.slice(part.indexOf('\r\n\r\n') + 4, -2);
  return { json: parseJson(bodyOf(metadata)), lines: bodyOf(content) };
}

function parseJson(text: string): Record<string, unknown> {
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function reach(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, name) => (typeof at === 'object' && at !== null ? Reflect.get(at, name) : undefined),
    value,
  );
}

function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = reach(value, ...path);
  return typeof found === 'string' ? found : undefined;
}
