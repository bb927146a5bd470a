import type { BigQueryConfig } from '../config/schema.ts';
import { codeOf, KpipeError, messageOf, type ErrorContext } from '../errors.ts';

/**
 * What BigQuery's two APIs mean by their errors. REST answers with an HTTP status, the Storage Write API with a gRPC
 * code; both become KPIPE_BIGQUERY_UNREACHABLE where a later attempt may succeed (away, busy, over a quota), else
 * KPIPE_BIGQUERY_FAILED. Only these two leave this folder, so that the sink can classify by code.
 */
const grpcNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
export type GrpcName = (typeof grpcNames)[number];

const transientGrpc: ReadonlySet<GrpcName> = new Set([
  'CANCELLED',
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'ABORTED',
  'INTERNAL',
  'UNAVAILABLE',
]);
/** Codes whose text may quote what a row holds: it goes neither into the message nor into the cause. */
const quotesRows: ReadonlySet<GrpcName> = new Set(['UNKNOWN', 'INVALID_ARGUMENT', 'INTERNAL', 'OUT_OF_RANGE']);
const transientReasons: ReadonlySet<string> = new Set([
  'rateLimitExceeded',
  'quotaExceeded',
  'jobRateLimitExceeded',
  'backendError',
  'internalError',
  'tableUnavailable',
  'timeout',
]);
const transientSystem = /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ERR_STREAM_PREMATURE_CLOSE)/;

/** The gRPC code's name of an error of the Storage Write API or of a status inside a response; undefined for others. */
export function grpcNameOf(error: unknown): GrpcName | undefined {
  const code = numberField(error, 'code');
  return code === undefined ? undefined : grpcNames[code];
}

/** The HTTP status of a REST error. */
export function httpStatusOf(error: unknown): number | undefined {
  const code = numberField(error, 'code');
  return code !== undefined && code >= 300 ? code : undefined;
}

/** `what` (such as 'appending rows') failed: as a KpipeError that says where, and what to do next. */
export function bigQueryFailure(
  what: string,
  error: unknown,
  config: BigQueryConfig,
  where: ErrorContext = {},
): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const place = { table: tablePath(config), ...where };
  const grpc = grpcNameOf(error);
  const quoting = grpc !== undefined && quotesRows.has(grpc);
  const said = grpc === undefined ? firstLine(messageOf(error)) : quoting ? grpc : firstLine(messageOf(error));
  const cause = quoting ? undefined : error;
  if (isTransient(error)) {
    return new KpipeError('KPIPE_BIGQUERY_UNREACHABLE', `BigQuery is away or busy: ${what}: ${said}`, {
      where: { ...place, endpoint: endpointOf(config) },
      next: isQuota(error)
        ? 'wait, or raise the quota that it names; larger batches (roles.analytics.batch) need fewer requests'
        : 'check the network and bigquery.endpoint in kpipe.yaml (`kpipe sandbox up` starts the local stand-in)',
      cause,
    });
  }
  return new KpipeError('KPIPE_BIGQUERY_FAILED', `${what}: BigQuery refused: ${said}`, {
    where: place,
    next: nextStep(error, config),
    cause,
  });
}

export function isTransient(error: unknown): boolean {
  const grpc = grpcNameOf(error);
  const status = httpStatusOf(error);
  if (grpc !== undefined) {
    return transientGrpc.has(grpc);
  }
  if (status !== undefined) {
    return (
      status === 408 ||
      status === 429 ||
      status >= 500 ||
      reasonsOf(error).some((reason) => transientReasons.has(reason))
    );
  }
  return (
    error instanceof Error &&
    (error.name === 'DeadlineExpired' || transientSystem.test(codeOf(error) ?? causeCode(error)))
  );
}

/** Whether a job that failed for this reason may succeed later; `stopped`: somebody cancelled it. */
export function isTransientReason(reason: string): boolean {
  return transientReasons.has(reason) || reason === 'stopped';
}

export function isNotFound(error: unknown): boolean {
  return grpcNameOf(error) === 'NOT_FOUND' || httpStatusOf(error) === 404;
}

export function tablePath({ project, dataset, table }: BigQueryConfig): string {
  return `${project}.${dataset}.${table}`;
}

function isQuota(error: unknown): boolean {
  return (
    grpcNameOf(error) === 'RESOURCE_EXHAUSTED' || reasonsOf(error).some((reason) => /quota|rateLimit/i.test(reason))
  );
}

function nextStep(error: unknown, config: BigQueryConfig): string {
  const name = grpcNameOf(error);
  const status = httpStatusOf(error);
  if (name === 'PERMISSION_DENIED' || name === 'UNAUTHENTICATED' || status === 403 || status === 401) {
    return `grant roles/bigquery.dataEditor on ${config.dataset} and roles/bigquery.jobUser on ${config.project} to the account in use`;
  }
  if (isNotFound(error)) {
    return `check bigquery.project, dataset and table in kpipe.yaml; the role makes a missing dataset and table when it starts`;
  }
  return '`kpipe doctor` looks at every store';
}

export function endpointOf(config: BigQueryConfig): string {
  return config.endpoint === undefined
    ? 'Google'
    : [config.endpoint, config.grpcEndpoint].filter(Boolean).join(' and ');
}

function reasonsOf(error: unknown): readonly string[] {
  const errors = field(error, 'errors');
  return Array.isArray(errors)
    ? errors.map((item) => field(item, 'reason')).filter((reason) => typeof reason === 'string')
    : [];
}

function causeCode(error: Error): string {
  return codeOf(error.cause) ?? '';
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? text).slice(0, 300);
}

function numberField(error: unknown, name: string): number | undefined {
  const value = field(error, name);
  return typeof value === 'number' ? value : undefined;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
