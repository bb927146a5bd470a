import type { BigQuery } from '@google-cloud/bigquery';
import type { v1 } from '@google-cloud/bigquery-storage';

import type { BigQueryConfig } from '../config/schema.ts';
import { codeOf, KpipeError, messageOf } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { bigQueryFailure, isTransient } from './failures.ts';

export type BigQueryWriteClient = InstanceType<typeof v1.BigQueryWriteClient>;

/** The clients of one project, made from kpipe.yaml and checked to have credentials. */
export interface BigQueryConnection {
  readonly config: BigQueryConfig;
  /** Tables and queries. */
  readonly rest: BigQuery;
  /** The Storage Write API (gRPC), connected at the first call. */
  storage(): Promise<BigQueryWriteClient>;
  close(): Promise<void>;
}

/** What one request may take, with the client's own retries. */
export const requestDeadlineMs = 30_000;
/** What opening may take, so that a store that is down is told within 10 s. */
export const openDeadlineMs = 8000;

/**
 * Opens the stand-in that `bigquery.endpoint` names, by a token that it ignores; without one Google's BigQuery, by
 * application default credentials.
 * @throws KPIPE_BIGQUERY_NO_CREDENTIALS, KPIPE_BIGQUERY_UNREACHABLE
 */
export async function connectBigQuery(config: BigQueryConfig): Promise<BigQueryConnection> {
  const rest = await openRest(config);
  let storage: Promise<BigQueryWriteClient> | undefined;
  return {
    config,
    rest,
    storage: () => {
      if (config.endpoint !== undefined && config.grpcEndpoint === undefined) {
        throw new KpipeError(
          'KPIPE_CONFIG_INVALID',
          'a write stream was left half-way, and bigquery has no grpcEndpoint',
          {
            next: 'add bigquery.grpcEndpoint to kpipe.yaml: what write: storage began is finished by the same way',
          },
        );
      }
      storage ??= openStorage(config);
      return storage;
    },
    close: async () => {
      await storage?.then((client) => client.close()).catch(() => undefined);
    },
  };
}

async function openRest(config: BigQueryConfig): Promise<BigQuery> {
  const { BigQuery } = await import('@google-cloud/bigquery');
  const common = {
    projectId: config.project,
    ...(config.location === undefined ? {} : { location: config.location }),
    // One quick repeat; whoever calls retries with patience, and a server that is down is told at once.
    autoRetry: true,
    maxRetries: 1,
    timeout: requestDeadlineMs,
  };
  if (config.endpoint !== undefined) {
    // Named here, and not by BIGQUERY_EMULATOR_HOST, which the client takes as the whole base URL.
    return new BigQuery({ ...common, apiEndpoint: config.endpoint, authClient: await standInAuth() });
  }
  const rest = new BigQuery(common);
  await proveCredentials(rest, config);
  return rest;
}

/**
 * Asks for a token before anything else does: the client's own calls reject somewhere inside when there are no credentials,
 * which ends the process.
 */
async function proveCredentials(rest: BigQuery, config: BigQueryConfig): Promise<void> {
  try {
    await withDeadline(rest.authClient.getAccessToken(), openDeadlineMs, 'no answer about credentials');
  } catch (error) {
    if (isTransient(error) && codeOf(error) !== undefined) {
      throw bigQueryFailure('asking Google for an access token', error, config);
    }
    const said = messageOf(error).split('\n')[0] ?? '';
    const why = said.startsWith('Could not load the default credentials') ? 'none are set up here' : said;
    throw new KpipeError(
      'KPIPE_BIGQUERY_NO_CREDENTIALS',
      `no Google credentials for project ${config.project}: ${why}`,
      {
        next:
          '`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS=FILE of a service account; ' +
          'without Google: `kpipe sandbox up` starts a local stand-in and sets bigquery.endpoint and grpcEndpoint',
        where: { project: config.project },
      },
    );
  }
}

async function openStorage(config: BigQueryConfig): Promise<BigQueryWriteClient> {
  const { v1: storageV1 } = await import('@google-cloud/bigquery-storage');
  const client = new storageV1.BigQueryWriteClient(await storageOptions(config));
  try {
    // Without this, its first streaming call rejects where nobody can catch it.
    await client.initialize();
  } catch (error) {
    throw bigQueryFailure('opening the Storage Write API', error, config);
  }
  return client;
}

async function storageOptions(
  config: BigQueryConfig,
): Promise<ConstructorParameters<typeof v1.BigQueryWriteClient>[0]> {
  const keepAlive = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 };
  if (config.grpcEndpoint === undefined) {
    return { projectId: config.project, ...keepAlive };
  }
  const { credentials } = await import('@grpc/grpc-js');
  const [host = '', port = ''] = config.grpcEndpoint.split(':');
  return {
    projectId: config.project,
    apiEndpoint: host,
    port: Number(port),
    sslCreds: credentials.createInsecure(),
    // Keeps the client from looking for Google's metadata server.
    authClient: await standInAuth(),
    ...keepAlive,
  };
}

/**
 * A token that never expires, for servers that look at none. Each Google package brings its own copy of the auth library;
 * they share the shape of a client, but no copy's class is another's, which is why the caller names the type it expects.
 */
async function standInAuth<AuthClient>(): Promise<AuthClient> {
  const { OAuth2Client } = await import('google-auth-library');
  const client: unknown = Object.assign(new OAuth2Client(), {
    credentials: { access_token: 'stand-in', expiry_date: Number.MAX_SAFE_INTEGER },
  });
  return client as AuthClient;
}
