import { setTimeout as sleep } from 'node:timers/promises';
import type { JobMetadata, Table } from '@google-cloud/bigquery';

import { KpipeError } from '../errors.ts';
import { requestDeadlineMs, type BigQueryConnection } from './connection.ts';
import { bigQueryFailure, httpStatusOf, isNotFound, isTransientReason, tablePath } from './failures.ts';
import type { LoadJobName } from './intent.ts';
import { withDeadline } from '../deadline.ts';

/** What became of a job's id. */
export type JobOutcome =
  | { readonly kind: 'loaded' }
  /** Nothing was loaded, and nothing will be. */
  | { readonly kind: 'failed'; readonly failure: JobFailure }
  /** The id was used up by a job that loads nothing. */
  | { readonly kind: 'void' }
  /** No job has the id: one may still get it. */
  | { readonly kind: 'unknown' };

export interface JobFailure {
  readonly reason: string;
  /** A later job may succeed. */
  readonly isTransient: boolean;
  /** It met a name that the table has no column for; rows are told apart by their data only, and are not at fault. */
  readonly isUnknownColumn: boolean;
  /** Where in the job's data the rows begin that it names, in bytes. */
  readonly rowsAt: readonly number[];
}

/**
 * Load jobs as far as kpipe uses them. An id runs once: whoever comes second is told that it exists. Each call has a
 * deadline and fails with a KPIPE_BIGQUERY_… code, which leaves open what became of the id; `outcome` tells.
 */
export interface LoadJobs {
  /** Loads newline-delimited JSON, all rows or none, and waits for the end. */
  run(job: LoadJobName, body: Buffer): Promise<JobOutcome>;
  /** What became of the id; waits while it runs. */
  outcome(job: LoadJobName): Promise<JobOutcome>;
  /** Uses the id up, unless somebody already has: then it answers false. */
  void(job: LoadJobName): Promise<boolean>;
}

const uploadDeadlineMs = 120_000;
/** How long an attempt waits for a job; the next attempt goes on waiting. */
const runningDeadlineMs = 300_000;
const firstPollMs = 100;
const maxPollMs = 2000;

export function loadJobs(connection: BigQueryConnection): LoadJobs {
  const { config } = connection;
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw bigQueryFailure(what, error, config);
    }
  };
  const outcome = (job: LoadJobName): Promise<JobOutcome> =>
    attempt('asking for a load job', () => outcomeOf(connection, job));
  return {
    run: (job, body) =>
      attempt('creating a load job', async () => {
        await createJob(connection, job, body);
        return outcomeOf(connection, job);
      }),
    outcome,
    void: (job) => attempt('giving up a load job', () => voidJob(connection, job)),
  };
}

/** The location of the dataset, where its jobs run. */
export async function datasetLocation({ config, rest }: BigQueryConnection): Promise<string> {
  try {
    const asked: Promise<readonly unknown[]> = rest.dataset(config.dataset).getMetadata();
    const [metadata] = await withDeadline(asked, requestDeadlineMs, 'no answer about the dataset');
    const { location } = metadata as { readonly location?: unknown };
    return typeof location === 'string' ? location : (config.location ?? '');
  } catch (error) {
    throw bigQueryFailure(`looking for the dataset of ${tablePath(config)}`, error, config);
  }
}

function tableOf({ rest }: BigQueryConnection, job: LoadJobName): Table {
  const [, project = '', , dataset = '', , table = ''] = job.table.split('/');
  return rest.dataset(dataset, { projectId: project }).table(table, locationOf(job));
}

function locationOf({ location }: LoadJobName): { readonly location?: string } {
  return location === '' ? {} : { location };
}

/** Resolves once a job has the id, ours or (409) one that was there before. */
async function createJob(connection: BigQueryConnection, job: LoadJobName, body: Buffer): Promise<void> {
  const stream = tableOf(connection, job).createWriteStream({
    sourceFormat: 'NEWLINE_DELIMITED_JSON',
    writeDisposition: 'WRITE_APPEND',
    createDisposition: 'CREATE_NEVER',
    maxBadRecords: 0,
    ignoreUnknownValues: false,
    jobId: job.id,
  });
  const created = new Promise<void>((resolve, reject) => {
    // The client goes on to poll the job, and tells its failure as the stream's: how it ended is asked for apart.
    stream.on('job', () => resolve());
    // Stays on for as long as the stream lives: an 'error' that nobody listens to ends the process.
    stream.on('error', reject);
    stream.end(body);
  });
  try {
    await withDeadline(created, uploadDeadlineMs, 'no answer to a load job');
  } catch (error) {
    stream.destroy();
    if (httpStatusOf(error) !== 409) {
      throw error;
    }
  }
}

async function outcomeOf({ rest }: BigQueryConnection, job: LoadJobName): Promise<JobOutcome> {
  const deadline = performance.now() + runningDeadlineMs;
  for (let pollMs = firstPollMs; ; pollMs = Math.min(maxPollMs, pollMs * 2)) {
    const metadata = await metadataOf(rest.job(job.id, locationOf(job)).getMetadata());
    if (metadata === null) {
      return { kind: 'unknown' };
    }
    if (metadata.configuration?.load === undefined) {
      return { kind: 'void' };
    }
    if (metadata.status?.state === 'DONE') {
      return endOf(metadata);
    }
    if (performance.now() > deadline) {
      throw new KpipeError(
        'KPIPE_BIGQUERY_UNREACHABLE',
        `load job ${job.id} is still ${metadata.status?.state ?? 'on its way'}`,
        {
          where: { table: job.table },
          next: 'kpipe goes on waiting: a second job for the same records could double them',
        },
      );
    }
    await sleep(pollMs);
  }
}

async function metadataOf(asked: Promise<readonly unknown[]>): Promise<JobMetadata | null> {
  try {
    const [metadata] = await withDeadline(asked, requestDeadlineMs, 'no answer about a load job');
    return metadata as JobMetadata;
  } catch (error) {
    if (isNotFound(error)) {
      return null;
    }
    throw error;
  }
}

function endOf({ status }: JobMetadata): JobOutcome {
  const result = status?.errorResult ?? undefined;
  if (result === undefined) {
    return { kind: 'loaded' };
  }
  const reason = result.reason ?? 'no reason given';
  const messages = [result, ...(status?.errors ?? [])].map(({ message }) => message ?? '');
  const rowsAt = messages.flatMap((message) =>
    [...message.matchAll(/row starting at position (\d+)/g)].map(([, position]) => Number(position)),
  );
  const isUnknownColumn = messages.some((message) => /no such field/i.test(message));
  const failure = { reason, isTransient: isTransientReason(reason), isUnknownColumn, rowsAt: [...new Set(rowsAt)] };
  return { kind: 'failed', failure };
}

/** A query that reads nothing takes the id: no load job can get it any more, whoever tries. It costs nothing. */
async function voidJob({ rest }: BigQueryConnection, job: LoadJobName): Promise<boolean> {
  const configuration = { query: { query: 'SELECT 1', useLegacySql: false }, labels: { kpipe: 'void' } };
  try {
    const asked = rest.createJob({ configuration, jobId: job.id, ...locationOf(job) });
    await withDeadline(asked, requestDeadlineMs, 'no answer to a job');
    return true;
  } catch (error) {
    if (httpStatusOf(error) === 409) {
      return false;
    }
    throw error;
  }
}
