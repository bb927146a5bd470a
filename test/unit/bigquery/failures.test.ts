import { describe, expect, test } from 'vitest';

import { AnalyticsSink } from '../../../src/lib/bigquery/analytics-sink.ts';
import { bigQueryFailure } from '../../../src/lib/bigquery/failures.ts';
import type { BigQueryConfig } from '../../../src/lib/config/schema.ts';
import { KpipeError } from '../../../src/lib/errors.ts';
import { AssignmentLostError } from '../../../src/lib/ports.ts';

const config: BigQueryConfig = {
  project: 'shop-prod',
  dataset: 'analytics',
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
};
const grpc = (code: number, message = 'said the server'): Error =>
  Object.assign(new Error(message), { code, details: message });
const rest = (code: number, reason: string): Error =>
  Object.assign(new Error('said the server'), { code, errors: [{ reason }] });
const system = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:1`), { code });

const never = (): never => {
  throw new Error('not asked in this test');
};
const sink = new AnalyticsSink({
  group: { committed: never },
  writer: { stage: never, settle: never, close: () => Promise.resolve() },
  usage: never,
  startPosition: never,
});

describe('what a failure of BigQuery means', () => {
  test.each([
    ['UNAVAILABLE', grpc(14), 'retry'],
    ['DEADLINE_EXCEEDED', grpc(4), 'retry'],
    ['RESOURCE_EXHAUSTED, a quota', grpc(8), 'retry'],
    ['ABORTED', grpc(10), 'retry'],
    ['INTERNAL', grpc(13), 'retry'],
    ['HTTP 429', rest(429, 'rateLimitExceeded'), 'retry'],
    ['HTTP 403 for a quota', rest(403, 'quotaExceeded'), 'retry'],
    ['HTTP 500', rest(500, 'internalError'), 'retry'],
    ['HTTP 503', rest(503, 'backendError'), 'retry'],
    ['a refused connection', system('ECONNREFUSED'), 'retry'],
    ['a name that does not resolve', system('ENOTFOUND'), 'retry'],
    ['a table that is gone', grpc(5), 'fatal'],
    ['a right that is missing', grpc(7), 'fatal'],
    ['no credentials', grpc(16), 'fatal'],
    ['HTTP 403 for a right', rest(403, 'accessDenied'), 'fatal'],
    ['HTTP 404', rest(404, 'notFound'), 'fatal'],
    ['HTTP 400', rest(400, 'invalid'), 'fatal'],
    ['a bug', new TypeError('x is not a function'), 'fatal'],
  ] as const)('%s', (_what, error, expected) => {
    const failure = bigQueryFailure('appending rows', error, config);
    expect(failure.code).toBe(expected === 'retry' ? 'KPIPE_BIGQUERY_UNREACHABLE' : 'KPIPE_BIGQUERY_FAILED');
    expect(failure.next).toBeTruthy();
    expect(failure.where).toMatchObject({ table: 'shop-prod.analytics.events' });
    expect(sink.classify(failure)).toBe(expected);
  });

  test('a missing right names the roles to grant', () => {
    expect(bigQueryFailure('appending rows', grpc(7), config).next).toContain('roles/bigquery.dataEditor');
  });

  test('text that may quote a row reaches neither the message nor the cause', () => {
    for (const code of [2, 3, 11, 13]) {
      const failure = bigQueryFailure('committing', grpc(code, 'cannot cast "4111 1111 1111 1111"'), config);
      expect(`${failure.message} ${JSON.stringify(failure.where)} ${String(failure.cause)}`).not.toContain('4111');
    }
  });
});

describe('what a failure of the group’s commit means', () => {
  test.each([
    ['a lost assignment', new AssignmentLostError('gone'), 'retry'],
    ['brokers that are away', new KpipeError('KPIPE_KAFKA_UNREACHABLE', 'no broker'), 'retry'],
    [
      'a coordinator that moves',
      new KpipeError('KPIPE_KAFKA_FAILED', 'x', { cause: Object.assign(new Error(), { apiId: 'NOT_COORDINATOR' }) }),
      'retry',
    ],
    [
      'no right on the group',
      new KpipeError('KPIPE_KAFKA_FAILED', 'x', {
        cause: Object.assign(new Error(), { apiId: 'GROUP_AUTHORIZATION_FAILED' }),
      }),
      'fatal',
    ],
    [
      'metadata that the cluster does not keep',
      new KpipeError('KPIPE_KAFKA_FAILED', 'x', {
        cause: Object.assign(new Error(), { type: 'OFFSET_METADATA_TOO_LARGE' }),
      }),
      'fatal',
    ],
    ['lost records', new KpipeError('KPIPE_RECORDS_LOST', 'x'), 'fatal'],
  ] as const)('%s', (_what, error, expected) => {
    expect(sink.classify(error)).toBe(expected);
  });
});
