import { connect } from 'node:net';

import type { BigQueryConfig } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { connectBigQuery } from './connection.ts';
import { bigQueryFailure, endpointOf, tablePath } from './failures.ts';

export interface BigQueryFacts {
  /** `Google`, or the stand-in's addresses. */
  readonly endpoint: string;
  readonly tablePath: string;
  readonly dataset: boolean;
  readonly table: boolean;
  /** Why the Storage Write API's own address does not answer; null: it does, or it is Google's. */
  readonly grpcProblem: string | null;
}

/** Asks for dataset and table. @throws KPIPE_BIGQUERY_… */
export async function probeBigQuery(config: BigQueryConfig, deadlineMs: number): Promise<BigQueryFacts> {
  const connection = await connectBigQuery(config);
  try {
    const dataset = connection.rest.dataset(config.dataset);
    const [[datasetExists], grpcProblem] = await Promise.all([dataset.exists(), reachGrpc(config, deadlineMs)]);
    const [tableExists] = datasetExists ? await dataset.table(config.table).exists() : [false];
    return { endpoint: endpointOf(config), tablePath: tablePath(config), dataset: datasetExists, table: tableExists, grpcProblem };
  } catch (error) {
    throw bigQueryFailure('looking for the table', error, config);
  } finally {
    await connection.close();
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
