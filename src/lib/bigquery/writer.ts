import type { protos } from '@google-cloud/bigquery-storage';

import { KpipeError } from '../errors.ts';
import type { RowDescriptor } from './columns.ts';
import { requestDeadlineMs, type BigQueryConnection, type BigQueryWriteClient } from './connection.ts';
import { bigQueryFailure, grpcNameOf, isNotFound, tablePath } from './failures.ts';
import { tableOfStream } from './intent.ts';
import { splitIntoRequests, type RequestRange } from './requests.ts';

type AppendRowsRequest = protos.google.cloud.bigquery.storage.v1.IAppendRowsRequest;
type AppendRowsResponse = protos.google.cloud.bigquery.storage.v1.IAppendRowsResponse;

/** What an append came to. Row numbers count from the first row of the call. */
export type AppendOutcome =
  | { readonly kind: 'appended' }
  /** BigQuery named the rows that it does not take. The stream is of no more use. */
  | { readonly kind: 'row-errors'; readonly rows: readonly { readonly index: number; readonly message: string }[] }
  /** BigQuery refused this range of rows and named none. The stream is of no more use. */
  | { readonly kind: 'refused'; readonly range: RequestRange };

export type CommitOutcome =
  | 'committed'
  /** Never made, or forgotten after days. Whether it was committed, only the table knows. */
  | 'not-found'
  /** Neither committed nor committable by what BigQuery says: ask the table. */
  | 'undetermined';

/**
 * The Storage Write API as far as kpipe uses it: streams of type PENDING, whose rows nobody sees before the commit. Each
 * call has a deadline and fails with a KPIPE_BIGQUERY_… code. A failed append is not mended here: the stream is left to
 * BigQuery, which forgets it, and the batch is written again to a new one by whoever retries.
 */
export interface PendingStreams {
  create(): Promise<string>;
  append(stream: string, rows: readonly Buffer[], descriptor: RowDescriptor): Promise<AppendOutcome>;
  /** No more rows can follow. Fails when the stream holds another number of rows. */
  finalize(stream: string, rows: number): Promise<void>;
  /** Makes all rows of the stream visible at once. May be repeated: a second commit has no effect. */
  commit(stream: string): Promise<CommitOutcome>;
}

/** Appends that are on their way at once: hides the latency, bounds the memory. */
const maxInFlight = 4;
const appendDeadlineMs = 60_000;

export function pendingStreams(connection: BigQueryConnection): PendingStreams {
  const { config } = connection;
  const attempt = async <T>(what: string, call: (client: BigQueryWriteClient) => Promise<T>): Promise<T> => {
    try {
      return await call(await connection.storage());
    } catch (error) {
      throw bigQueryFailure(what, error, config);
    }
  };
  return {
    create: () => attempt('creating a write stream', (client) => createStream(client, connection)),
    append: (stream, rows, descriptor) =>
      attempt('appending rows', (client) => appendRows(client, stream, rows, descriptor)),
    finalize: (stream, rows) => attempt('finalizing a write stream', (client) => finalizeStream(client, stream, rows)),
    commit: (stream) => attempt('committing a write stream', (client) => commitStream(client, stream)),
  };
}

/** Whether the Storage Write API answers and lets us in. @throws KPIPE_BIGQUERY_… */
export async function probeStorage(connection: BigQueryConnection, deadlineMs: number): Promise<void> {
  const { project, dataset, table } = connection.config;
  const name = `projects/${project}/datasets/${dataset}/tables/${table}/streams/_default`;
  try {
    const client = await connection.storage();
    await client.getWriteStream({ name }, { timeout: deadlineMs, retry: null });
  } catch (error) {
    // A table that was made this moment may not be known there yet.
    if (!isNotFound(error)) {
      throw bigQueryFailure('reaching the Storage Write API', error, connection.config);
    }
  }
}

async function createStream(client: BigQueryWriteClient, { config }: BigQueryConnection): Promise<string> {
  const parent = `projects/${config.project}/datasets/${config.dataset}/tables/${config.table}`;
  const [stream] = await client.createWriteStream(
    { parent, writeStream: { type: 'PENDING' } },
    { timeout: requestDeadlineMs },
  );
  if (typeof stream.name !== 'string' || stream.name === '') {
    throw new KpipeError(
      'KPIPE_BIGQUERY_FAILED',
      `BigQuery made a write stream without a name for ${tablePath(config)}`,
      {
        next: 'see that bigquery.grpcEndpoint speaks the Storage Write API',
      },
    );
  }
  return stream.name;
}

async function finalizeStream(client: BigQueryWriteClient, stream: string, rows: number): Promise<void> {
  const [answer] = await client.finalizeWriteStream({ name: stream }, { timeout: requestDeadlineMs });
  if (String(answer.rowCount) !== String(rows)) {
    throw new KpipeError(
      'KPIPE_BIGQUERY_UNREACHABLE',
      `a write stream holds ${String(answer.rowCount)} rows instead of ${rows}`,
      {
        where: { stream },
        next: 'the batch is written again to a new stream; nothing of this one is visible',
      },
    );
  }
}

async function commitStream(client: BigQueryWriteClient, stream: string): Promise<CommitOutcome> {
  const outcome = await tryCommit(client, stream);
  if (outcome !== 'undetermined') {
    return outcome;
  }
  // Neither open nor committed, or committed and not said so: BigQuery knows the time of a commit, a stand-in may not.
  const [state] = await client.getWriteStream({ name: stream, view: 'FULL' }, { timeout: requestDeadlineMs });
  if ((state.commitTime ?? null) !== null) {
    return 'committed';
  }
  try {
    await client.finalizeWriteStream({ name: stream }, { timeout: requestDeadlineMs });
  } catch (error) {
    if (grpcNameOf(error) === 'FAILED_PRECONDITION') {
      return 'undetermined';
    }
    throw error;
  }
  return tryCommit(client, stream);
}

async function tryCommit(client: BigQueryWriteClient, stream: string): Promise<CommitOutcome> {
  try {
    const request = { parent: tableOfStream(stream), writeStreams: [stream] };
    const [answer] = await client.batchCommitWriteStreams(request, { timeout: requestDeadlineMs });
    const codes = (answer.streamErrors ?? []).map(({ code }) => String(code));
    if (codes.length === 0) {
      return (answer.commitTime ?? null) === null ? 'undetermined' : 'committed';
    }
    if (codes.every((code) => code === 'STREAM_ALREADY_COMMITTED')) {
      return 'committed';
    }
    return codes.some((code) => code === 'STREAM_NOT_FOUND' || code === 'TABLE_NOT_FOUND')
      ? 'not-found'
      : 'undetermined';
  } catch (error) {
    switch (grpcNameOf(error)) {
      case 'NOT_FOUND':
        return 'not-found';
      case 'ALREADY_EXISTS':
        return 'committed';
      case 'FAILED_PRECONDITION':
        return 'undetermined';
      default:
        throw error;
    }
  }
}

/**
 * Sends the rows in requests of at least 1 MB where there are so many, each with its offset, a few at once, and reads one
 * answer for each, in order. This is the client's plain streaming call: its managed connection keeps every connection it
 * ever made, and after a failure sends what was in flight in another order.
 */
function appendRows(
  client: BigQueryWriteClient,
  stream: string,
  rows: readonly Buffer[],
  descriptor: RowDescriptor,
): Promise<AppendOutcome> {
  const ranges = splitIntoRequests(rows);
  const call = client.appendRows({
    timeout: appendDeadlineMs,
    otherArgs: { headers: { 'x-goog-request-params': `write_stream=${stream}` } },
  });
  let sent = 0;
  let answered = 0;
  return new Promise<AppendOutcome>((resolve, reject) => {
    const send = (): void => {
      for (let range = ranges[sent]; range !== undefined && sent - answered < maxInFlight; range = ranges[sent]) {
        call.write(requestOf(stream, rows, range, sent === 0 ? descriptor : null));
        sent += 1;
      }
    };
    call.on('data', (response: AppendRowsResponse) => {
      const range = ranges[answered];
      answered += 1;
      const problem = range === undefined ? null : problemOf(response, range);
      if (problem instanceof Error) {
        reject(problem);
      } else if (problem !== null) {
        resolve(problem);
      } else if (answered === ranges.length) {
        resolve({ kind: 'appended' });
      } else {
        send();
      }
    });
    // Stays on for as long as the call lives: an 'error' that nobody listens to ends the process.
    call.on('error', reject);
    call.on('close', () =>
      reject(Object.assign(new Error('the connection closed before all rows were acknowledged'), { code: 14 })),
    );
    send();
  }).finally(() => {
    call.end();
    call.destroy();
  });
}

/** The descriptor goes with the first request of a connection only. */
function requestOf(
  stream: string,
  rows: readonly Buffer[],
  range: RequestRange,
  descriptor: RowDescriptor | null,
): AppendRowsRequest {
  return {
    writeStream: stream,
    offset: { value: range.start },
    protoRows: {
      ...(descriptor === null ? {} : { writerSchema: { protoDescriptor: descriptor } }),
      rows: { serializedRows: rows.slice(range.start, range.end) },
    },
  };
}

/** null: the rows are in the stream. */
function problemOf(response: AppendRowsResponse, range: RequestRange): AppendOutcome | Error | null {
  const rowErrors = response.rowErrors ?? [];
  if (rowErrors.length > 0) {
    // The message may quote the value; the code cannot.
    const named = rowErrors.map(({ index, code }) => ({
      index: range.start + Number(index ?? 0),
      message: `BigQuery: ${String(code)}`,
    }));
    return { kind: 'row-errors', rows: named };
  }
  const status = response.error ?? null;
  const name = grpcNameOf(status);
  if (status === null || name === 'OK' || name === 'ALREADY_EXISTS') {
    return null;
  }
  if (name === 'INVALID_ARGUMENT') {
    return { kind: 'refused', range };
  }
  return Object.assign(new Error(status.message ?? name ?? 'no reason given'), { code: status.code });
}
