import { connect } from 'node:net';

import type { BigQueryConfig } from '../config/schema.ts';
import { codeOf, KpipeError, messageOf } from '../errors.ts';
import { connectBigQuery } from './connection.ts';
import { endpointOf, tablePath } from './failures.ts';

export interface BigQueryFacts {
  /** `Google`, or the stand-in's addresses. */
  readonly endpoint: string;
  readonly tablePath: string;
  readonly dataset: boolean;
  readonly table: boolean;
  /** Why the Storage Write API's own address does not answer; null: it does, or it is Google's. */
  readonly grpcProblem: string | null;
}

const google = 'https://bigquery.googleapis.com';

/**
 * Asks for dataset and table, by plain requests: the client's own would go on repeating theirs after the deadline.
 * @throws KPIPE_BIGQUERY_… within the deadline
 */
export async function probeBigQuery(config: BigQueryConfig, deadlineMs: number): Promise<BigQueryFacts> {
  const signal = AbortSignal.timeout(deadlineMs);
  const token = config.endpoint === undefined ? await googleToken(config) : 'stand-in';
  const datasetUrl = `${config.endpoint ?? google}/bigquery/v2/projects/${config.project}/datasets/${config.dataset}`;
  const [dataset, table, grpcProblem] = await Promise.all([
    exists(config, datasetUrl, token, signal),
    exists(config, `${datasetUrl}/tables/${config.table}`, token, signal),
    reachGrpc(config, deadlineMs),
  ]);
  return { endpoint: endpointOf(config), tablePath: tablePath(config), dataset, table, grpcProblem };
}

async function googleToken(config: BigQueryConfig): Promise<string> {
  const connection = await connectBigQuery(config);
  const token = await connection.rest.authClient.getAccessToken();
  await connection.close();
  return token ?? '';
}

async function exists(config: BigQueryConfig, url: string, token: string, signal: AbortSignal): Promise<boolean> {
  const response = await request(config, url, token, signal);
  if (response.ok || response.status === 404) {
    return response.ok;
  }
  throw new KpipeError(
    'KPIPE_BIGQUERY_FAILED',
    `${endpointOf(config)} answered ${response.status} for ${tablePath(config)}`,
    {
      next:
        response.status === 403
          ? 'grant the account BigQuery Data Editor on the dataset and BigQuery Job User on the project'
          : 'check project, dataset and table of bigquery in kpipe.yaml',
    },
  );
}

async function request(config: BigQueryConfig, url: string, token: string, signal: AbortSignal): Promise<Response> {
  try {
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal });
    // An unread body would keep its connection, and so the process.
    await response.body?.cancel();
    return response;
  } catch (error) {
    // fetch hides what happened behind "fetch failed".
    const cause: unknown = error instanceof Error && error.cause !== undefined ? error.cause : error;
    const why =
      codeOf(cause) === 'ECONNREFUSED'
        ? 'it refused the connection'
        : signal.aborted
          ? 'no answer in time'
          : messageOf(cause);
    throw new KpipeError('KPIPE_BIGQUERY_UNREACHABLE', `${endpointOf(config)} does not answer: ${why}`, {
      next: 'check the network and bigquery.endpoint in kpipe.yaml (`kpipe sandbox up` starts the local stand-in)',
      cause: error,
    });
  }
}

async function reachGrpc(config: BigQueryConfig, deadlineMs: number): Promise<string | null> {
  if (config.write !== 'storage' || config.grpcEndpoint === undefined) {
    return null;
  }
  const [host = '', port = ''] = config.grpcEndpoint.split(':');
  const socket = connect({ host, port: Number(port), timeout: deadlineMs });
  const { promise, resolve } = Promise.withResolvers<string | null>();
  socket.once('connect', () => resolve(null));
  socket.once('timeout', () => resolve('no answer in time'));
  socket.once('error', (error) => resolve(messageOf(error)));
  return promise.finally(() => socket.destroy());
}
