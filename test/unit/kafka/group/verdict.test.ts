import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../../src/lib/errors.ts';
import { verdictOn } from '../../../../src/lib/kafka/group/verdict.ts';

/** As @platformatic/kafka throws a broker's refusal. */
const refusal = (apiId: string): Error =>
  new AggregateError(
    [Object.assign(new Error(apiId), { apiId, code: 'PLT_KFK_PROTOCOL' })],
    'Received response with error',
  );
const network = (code: string): Error => Object.assign(new Error('connection closed'), { code });
const verdict = (error: unknown, instanceId: string | null = null) => verdictOn(error, 'orders', instanceId);

describe('what a coordinator answers', () => {
  test.each([
    ['COORDINATOR_NOT_AVAILABLE', 'retry'],
    ['COORDINATOR_LOAD_IN_PROGRESS', 'retry'],
    ['NOT_COORDINATOR', 'retry'],
    ['UNKNOWN_SERVER_ERROR', 'retry'],
    ['REBALANCE_IN_PROGRESS', 'rebalance'],
    ['UNKNOWN_MEMBER_ID', 'lost'],
    ['ILLEGAL_GENERATION', 'lost'],
    ['FENCED_MEMBER_EPOCH', 'lost'],
    ['UNRELEASED_INSTANCE_ID', 'unreleased'],
    ['UNSUPPORTED_VERSION', 'refused'],
    ['GROUP_ID_NOT_FOUND', 'refused'],
    ['FENCED_INSTANCE_ID', 'fatal'],
    ['INCONSISTENT_GROUP_PROTOCOL', 'fatal'],
    ['INVALID_SESSION_TIMEOUT', 'fatal'],
    ['GROUP_AUTHORIZATION_FAILED', 'fatal'],
    ['INVALID_REQUEST', 'fatal'],
  ])('%s: %s', (apiId, kind) => {
    expect(verdict(refusal(apiId)).kind).toBe(kind);
  });

  test('only an unknown member id is forgotten', () => {
    expect(verdict(refusal('UNKNOWN_MEMBER_ID'))).toMatchObject({ forget: true });
    expect(verdict(refusal('FENCED_MEMBER_EPOCH'))).toMatchObject({ forget: false });
  });

  test('a fenced instance is told with its id and what to do', () => {
    expect(verdict(refusal('FENCED_INSTANCE_ID'), 'pod-3')).toMatchObject({
      kind: 'fatal',
      error: {
        code: 'KPIPE_KAFKA_FAILED',
        exitCode: 1,
        message: expect.stringContaining('pod-3') as string,
        next: expect.stringContaining('kafka.group.instanceId') as string,
      },
    });
  });
});

describe('when nobody answers', () => {
  test.each(['PLT_KFK_NETWORK', 'PLT_KFK_TIMEOUT', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH'])(
    '%s: again',
    (code) => {
      expect(verdict(network(code))).toEqual({ kind: 'retry' });
    },
  );

  test('no broker at all: again', () => {
    expect(verdict(new KpipeError('KPIPE_KAFKA_UNREACHABLE', 'no Kafka broker answered'))).toEqual({ kind: 'retry' });
  });

  test('refused credentials are for the operator', () => {
    const error = new KpipeError('KPIPE_KAFKA_FAILED', '127.0.0.1:9092 refused to authenticate');
    expect(verdict(error)).toEqual({ kind: 'fatal', error });
  });

  test('a mistake of ours is not tried again', () => {
    expect(verdict(new TypeError('undefined is not a function'))).toMatchObject({ kind: 'fatal' });
  });
});
