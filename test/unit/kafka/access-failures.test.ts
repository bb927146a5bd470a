import { describe, expect, test } from 'vitest';

import { parseConfig, type KafkaConfig } from '../../../src/lib/config/load.ts';
import {
  accessFailure,
  isAccessFailure,
  isTlsRecord,
  isTokenRefusal,
  TlsWanted,
  TokenRefused,
} from '../../../src/lib/kafka/access-failures.ts';
import { connectionFailure, unreachable } from '../../../src/lib/kafka/failures.ts';
import { connectFailure } from '../../../src/lib/kafka/produce-errors.ts';
import { KpipeError } from '../../../src/lib/errors.ts';

const scram = { mechanism: 'scram-sha-512', username: 'shop', password: '${env:PASSWORD}' };

function configOf(kafka: object): KafkaConfig {
  const text = JSON.stringify({ pipeline: 'test', kafka: { brokers: ['b1:9094', 'b2:9094'], ...kafka } });
  return parseConfig(text, '/dev/null/kpipe.yaml', { PASSWORD: 'canary' }).kafka;
}

const secured = configOf({ tls: true, sasl: scram });
const withCertificate = configOf({ tls: { cert: 'c.pem', key: 'k.pem' } });

function failed(message: string, members: object, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), members);
}

/** As @platformatic/kafka wraps it. */
const wrapped = (cause: unknown): Error => failed('Connection to b1:9094 failed.', { code: 'PLT_KFK_NETWORK' }, cause);
const refusal = (apiId: string, serverErrorMessage: string | null, response = {}): Error =>
  Object.assign(
    new AggregateError(
      [failed('…', { code: 'PLT_KFK_PROTOCOL', apiId, serverErrorMessage })],
      'executing API SaslX(v1)',
    ),
    { code: 'PLT_KFK_RESPONSE', response },
  );

describe('why a broker does not let us in', () => {
  test.each<[what: string, config: KafkaConfig, error: unknown, code: string, text: string]>([
    [
      'a wrong password',
      secured,
      wrapped(
        failed(
          'SASL authentication failed.',
          { code: 'PLT_KFK_AUTHENTICATION' },
          refusal('SASL_AUTHENTICATION_FAILED', 'invalid credentials'),
        ),
      ),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'b1:9094 refused user shop (SCRAM-SHA-512): invalid credentials',
    ],
    [
      'a token',
      configOf({ tls: true, sasl: { mechanism: 'oauthbearer', token: '${env:PASSWORD}' } }),
      wrapped(refusal('SASL_AUTHENTICATION_FAILED', '{"status":"invalid_token"}')),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'b1:9094 refused the token (OAUTHBEARER): {"status":"invalid_token"}',
    ],
    [
      'a mechanism',
      secured,
      wrapped(
        failed(
          'Cannot find …',
          { code: 'PLT_KFK_AUTHENTICATION' },
          refusal('UNSUPPORTED_SASL_MECHANISM', null, { mechanisms: ['PLAIN'] }),
        ),
      ),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'b1:9094 does not offer SASL mechanism SCRAM-SHA-512; it offers PLAIN',
    ],
    [
      'a secret that is gone',
      secured,
      wrapped(
        failed(
          'provider threw',
          { code: 'PLT_KFK_AUTHENTICATION' },
          new KpipeError('KPIPE_SECRET_UNAVAILABLE', '${file:/x} cannot be resolved', { next: 'set it' }),
        ),
      ),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'no credentials for b1:9094: ${file:/x} cannot be resolved',
    ],
    [
      'TLS that was not expected',
      configOf({}),
      new AggregateError([new TlsWanted(), wrapped(null)]),
      'KPIPE_KAFKA_UNTRUSTED',
      'b1:9094 speaks TLS, and kafka.tls is not set',
    ],
    [
      'another host’s certificate',
      secured,
      wrapped(failed('altnames', { code: 'ERR_TLS_CERT_ALTNAME_INVALID', cert: { subjectaltname: 'DNS:x' } })),
      'KPIPE_KAFKA_UNTRUSTED',
      'b1:9094 shows a certificate for another host (DNS:x)',
    ],
    [
      'an old certificate',
      secured,
      wrapped(failed('…', { code: 'CERT_HAS_EXPIRED' })),
      'KPIPE_KAFKA_UNTRUSTED',
      'b1:9094 shows a certificate that has expired',
    ],
    [
      'an unknown authority',
      secured,
      wrapped(failed('…', { code: 'SELF_SIGNED_CERT_IN_CHAIN' })),
      'KPIPE_KAFKA_UNTRUSTED',
      'b1:9094 shows a certificate that no trusted authority signed (SELF_SIGNED_CERT_IN_CHAIN)',
    ],
    [
      'a client certificate that is missing',
      configOf({ tls: true }),
      wrapped(failed('…', { code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' })),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'b1:9094 wants a client certificate, and kafka.tls has none',
    ],
    [
      'a client certificate that is refused',
      withCertificate,
      wrapped(failed('…', { code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' })),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      'b1:9094 refused the client certificate of kafka.tls.cert (unknown ca)',
    ],
  ])('%s', (_what, config, error, code, text) => {
    const failure = accessFailure(config, 'b1:9094', error);
    expect(failure).toMatchObject({ code, message: text, exitCode: 1, next: expect.any(String) as string });
    expect(isAccessFailure(failure)).toBe(true);
    // Whoever hands it on does not wrap it again.
    expect(accessFailure(config, 'b2:9094', failure)).toBe(failure);
    expect(connectionFailure(config, 'b2:9094', failure)).toBe(failure);
  });

  test('a broker that hangs up may only be stopping: no verdict, both settings are the next step', () => {
    const dropped = wrapped(
      failed(
        'Cannot find …',
        { code: 'PLT_KFK_AUTHENTICATION' },
        failed('Connection closed', { code: 'PLT_KFK_NETWORK' }),
      ),
    );
    expect(accessFailure(secured, 'b1:9094', dropped)).toBeNull();
    const reason = connectionFailure(secured, 'b1:9094', dropped);
    expect(reason).toBe('b1:9094 closed the connection during authentication');
    expect(unreachable(secured, [String(reason)]).next).toMatch(/kafka\.tls and kafka\.sasl say TLS and SASL/);
    const early = wrapped(
      failed('Client network socket disconnected before secure TLS connection was established', { code: 'ECONNRESET' }),
    );
    expect(connectionFailure(secured, 'b1:9094', early)).toBe(
      'b1:9094 closed the connection before TLS was established',
    );
  });

  test('a broker that is down is none of that', () => {
    const down = wrapped(failed('connect ECONNREFUSED', { code: 'ECONNREFUSED' }));
    expect(accessFailure(secured, 'b1:9094', down)).toBeNull();
    expect(connectionFailure(secured, 'b1:9094', down)).toBe('b1:9094 refused the connection');
    expect(unreachable(secured, ['b1:9094 refused the connection']).next).toMatch(/start the cluster/);
  });

  test('a token that is refused is an answer, not an error', () => {
    const answer = Buffer.from('{"status":"invalid_token"}');
    expect(isTokenRefusal(answer)).toBe(true);
    expect(isTokenRefusal(Buffer.alloc(0))).toBe(false);
    expect(isTokenRefusal(null)).toBe(false);
    const withToken = configOf({ tls: true, sasl: { mechanism: 'oauthbearer', token: '${env:PASSWORD}' } });
    const failure = accessFailure(withToken, 'b1:9094', wrapped(new TokenRefused(answer)));
    expect(failure?.message).toBe('b1:9094 refused the token (OAUTHBEARER): {"status":"invalid_token"}');
  });

  test.each<[bytes: number[], isTls: boolean]>([
    [[0x15, 0x03, 0x03, 0x00], true],
    [[0x16, 0x03, 0x01, 0x02], true],
    [[0x00, 0x00, 0x00, 0x2a], false],
    [[], false],
  ])('first bytes %j: TLS is %s', (bytes, isTls) => {
    expect(isTlsRecord(Buffer.from(bytes))).toBe(isTls);
  });
});

describe('as kafkajs tells it', () => {
  test.each<[what: string, error: Error, code: string, text: RegExp]>([
    [
      'a wrong password',
      failed('SASL SCRAM SHA512 authentication failed: invalid credentials', {
        name: 'KafkaJSSASLAuthenticationError',
      }),
      'KPIPE_KAFKA_UNAUTHENTICATED',
      /^one of b1:9094, b2:9094 refused user shop \(SCRAM-SHA-512\): invalid credentials$/,
    ],
    [
      'an old certificate, after its retries',
      failed(
        'retries exceeded',
        { name: 'KafkaJSNumberOfRetriesExceeded' },
        failed('Connection error: certificate has expired', {
          name: 'KafkaJSConnectionError',
          broker: 'b2:9094',
          code: 'CERT_HAS_EXPIRED',
        }),
      ),
      'KPIPE_KAFKA_UNTRUSTED',
      /^b2:9094 shows a certificate that has expired$/,
    ],
    [
      'no right to a producer id',
      failed('Cluster authorization failed', { name: 'KafkaJSProtocolError', type: 'CLUSTER_AUTHORIZATION_FAILED' }),
      'KPIPE_KAFKA_FAILED',
      /no right to Write the topic \(CLUSTER_AUTHORIZATION_FAILED\)$/,
    ],
    [
      'a closed connection',
      failed('Closed connection', { name: 'KafkaJSConnectionClosedError' }),
      'KPIPE_KAFKA_UNREACHABLE',
      /closed the connection/,
    ],
  ])('%s', (_what, error, code, text) => {
    expect(connectFailure(secured, error)).toMatchObject({ code, message: expect.stringMatching(text) as string });
  });
});
