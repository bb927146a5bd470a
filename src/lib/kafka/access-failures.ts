import type { KafkaConfig } from '../config/load.ts';
import { codeOf, KpipeError, messageOf } from '../errors.ts';
import { causes, field, textField } from './causes.ts';

/**
 * Why a broker and this client do not come together over TLS and SASL: out of the errors of either driver (and of Node's
 * TLS below them) one sentence, a code and the setting to look at. Texts of TLS and of brokers name no secret: a broker
 * says "invalid credentials" whatever was wrong.
 */

/** How long refused credentials are tried again where they were good before: a new password comes in two places. */
export const accessGraceMs = 30_000;

/** How long one's credentials have been refused. Those that were never good are not tried again. */
export class AccessGrace {
  #wereGood: boolean;
  #refusedSinceMs: number | null = null;

  constructor({ wereGood }: { readonly wereGood: boolean }) {
    this.#wereGood = wereGood;
  }

  accepted(): void {
    this.#wereGood = true;
    this.#refusedSinceMs = null;
  }

  /** They were refused once more: whether that is enough. */
  isOver(nowMs: number): boolean {
    this.#refusedSinceMs ??= nowMs;
    return !this.#wereGood || nowMs - this.#refusedSinceMs > accessGraceMs;
  }
}

/** What a driver says, or this client finds, when the first bytes of a broker are TLS's. */
const wantsTls = 'Broker requires TLS.';

/** The client speaks plain text, and the answer is a TLS record (Java's brokers send an alert). */
export class TlsWanted extends Error {
  override readonly name = 'TlsWanted';

  constructor() {
    super(wantsTls);
  }
}

/**
 * OAUTHBEARER's refusal is no error of the protocol but an answer with JSON in it, on which the client should say so and
 * hang up (RFC 7628, 3.2.2); drivers take it for a success. An accepted token is answered with nothing.
 */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
  readonly apiId = 'SASL_AUTHENTICATION_FAILED';
  readonly serverErrorMessage: string;

  constructor(answer: Buffer) {
    const said = answer.toString('utf8').slice(0, 200);
    super(said);
    this.serverErrorMessage = said;
  }
}

export function isTokenRefusal(answer: Buffer | null): answer is Buffer {
  return answer !== null && answer.includes('"status"');
}

export function isTlsRecord(bytes: Buffer): boolean {
  const [type = 0, major = 0, minor = 255] = bytes;
  return type >= 0x14 && type <= 0x17 && major === 3 && minor <= 4;
}

/** Neither another broker nor a later attempt with the same settings gets in. */
export function isAccessFailure(error: unknown): error is KpipeError {
  return (
    error instanceof KpipeError &&
    (error.code === 'KPIPE_KAFKA_UNTRUSTED' || error.code === 'KPIPE_KAFKA_UNAUTHENTICATED')
  );
}

/** Null: it is something else. `broker`: as the sentence's subject, `host:port`. */
export function accessFailure(config: KafkaConfig, broker: string, error: unknown): KpipeError | null {
  const all = causes(error);
  const known = all.find(isAccessFailure);
  return known ?? secretFailure(broker, all) ?? saslFailure(config, broker, all) ?? tlsFailure(config, broker, all);
}

function unauthenticated(broker: string, text: string, next: string, cause: unknown): KpipeError {
  return new KpipeError('KPIPE_KAFKA_UNAUTHENTICATED', `${broker} ${text}`, { where: { broker }, next, cause });
}

function untrusted(broker: string, text: string, next: string, cause: unknown): KpipeError {
  return new KpipeError('KPIPE_KAFKA_UNTRUSTED', `${broker} ${text}`, { where: { broker }, next, cause });
}

/** The reference of a password or token is resolved for each authentication, and was not to be had now. */
function secretFailure(broker: string, all: readonly unknown[]): KpipeError | null {
  const found = all.find((cause) => codeOf(cause) === 'KPIPE_SECRET_UNAVAILABLE');
  return found instanceof KpipeError
    ? new KpipeError('KPIPE_KAFKA_UNAUTHENTICATED', `no credentials for ${broker}: ${found.message}`, {
        where: { broker },
        ...(found.next === undefined ? {} : { next: found.next }),
        cause: found,
      })
    : null;
}

function saslFailure({ sasl }: KafkaConfig, broker: string, all: readonly unknown[]): KpipeError | null {
  const cause = all[0];
  const mechanism = sasl?.mechanism.toUpperCase() ?? 'SASL';
  const ids = new Set(all.flatMap((each) => [textField(each, 'apiId'), textField(each, 'type')]));
  if (ids.has('UNSUPPORTED_SASL_MECHANISM')) {
    const offered = all.map(offeredMechanisms).find((list) => list.length > 0);
    const instead = offered === undefined ? '' : `; it offers ${offered.join(', ')}`;
    const next = "set kafka.sasl.mechanism to one of that listener's sasl.enabled.mechanisms";
    return unauthenticated(broker, `does not offer SASL mechanism ${mechanism}${instead}`, next, cause);
  }
  const said = all.find((each) => textField(each, 'apiId') === 'SASL_AUTHENTICATION_FAILED');
  const byKafkajs = all.find((each) => textField(each, 'name') === 'KafkaJSSASLAuthenticationError');
  if (said !== undefined || byKafkajs !== undefined) {
    const reason = textField(said, 'serverErrorMessage') ?? afterColon(messageOf(byKafkajs ?? said));
    const who = sasl === undefined || !('username' in sasl) ? 'the token' : `user ${sasl.username}`;
    const next = `check ${sasl?.mechanism === 'oauthbearer' ? 'kafka.sasl.token' : 'kafka.sasl.username and password'}; after a change of them on the brokers, here too`;
    return unauthenticated(broker, `refused ${who} (${mechanism}): ${oneLine(reason)}`, next, cause);
  }
  return null;
}

function tlsFailure({ tls }: KafkaConfig, broker: string, all: readonly unknown[]): KpipeError | null {
  const cause = all[0];
  if (speaksTls(all)) {
    const next = 'add `tls: true` (or `tls: {ca: FILE}`) to kafka in kpipe.yaml';
    return untrusted(broker, 'speaks TLS, and kafka.tls is not set', next, cause);
  }
  if (tls === undefined) {
    return null;
  }
  const failed = all.find((each) => tlsCode.test(codeOf(each) ?? ''));
  const code = codeOf(failed) ?? '';
  if (failed === undefined || code === '') {
    return null;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = certificateNames(failed);
    const next = "name the brokers as their certificates do: in kafka.brokers and in the brokers' advertised.listeners";
    return untrusted(broker, `shows a certificate for another host${names === '' ? '' : ` (${names})`}`, next, cause);
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    const when = code === 'CERT_HAS_EXPIRED' ? 'has expired' : 'is not valid yet';
    const next = "renew the broker's certificate, or set this machine's clock right";
    return untrusted(broker, `shows a certificate that ${when}`, next, cause);
  }
  if (/ALERT/.test(code)) {
    return refusedByBroker('cert' in tls && tls.cert !== undefined, broker, code, cause);
  }
  if (/^(?:UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|CERT_)/.test(code)) {
    const next = 'name the authority that signed the brokers as kafka.tls.ca';
    return untrusted(broker, `shows a certificate that no trusted authority signed (${code})`, next, cause);
  }
  const next = 'kafka.tls in kpipe.yaml and the listener must agree: does this port speak TLS?';
  return untrusted(broker, `does not come to terms over TLS (${code})`, next, cause);
}

const tlsCode = /^(?:EPROTO|ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/;

function refusedByBroker(hasCertificate: boolean, broker: string, code: string, cause: unknown): KpipeError {
  if (!hasCertificate) {
    const next = 'set kafka.tls.cert and kafka.tls.key (ssl.client.auth=required), or take a listener without';
    return unauthenticated(broker, 'wants a client certificate, and kafka.tls has none', next, cause);
  }
  const alert = code
    .replace(/^.*ALERT_/, '')
    .toLowerCase()
    .replaceAll('_', ' ');
  const next = "the brokers' truststore must hold the authority that signed kafka.tls.cert, and it must be valid now";
  return unauthenticated(broker, `refused the client certificate of kafka.tls.cert (${alert})`, next, cause);
}

/**
 * A listener with other security than was expected says nothing: it hangs up. So does a broker that is just stopping, so
 * that this is a hint and no verdict. Null: nobody hung up.
 */
export function hangUp({ tls, sasl }: KafkaConfig, error: unknown): string | null {
  const all = causes(error);
  const texts = all.map(messageOf);
  if (texts.some((text) => text.includes('before secure TLS connection was established'))) {
    return 'closed the connection before TLS was established';
  }
  if (sasl !== undefined && all.some((each) => codeOf(each) === 'PLT_KFK_AUTHENTICATION')) {
    return 'closed the connection during authentication';
  }
  const closed = texts.some((text) => /^(?:Connection closed|Closed connection)$|was closed$/i.test(text));
  const reset = all.some((each) => ['ECONNRESET', 'EPIPE'].includes(codeOf(each) ?? ''));
  return closed || (reset && tls !== undefined) ? 'closed the connection' : null;
}

/** What to look at when brokers hang up. */
export function hangUpNext({ tls, sasl }: KafkaConfig): string {
  const has = `${tls === undefined ? 'no TLS' : 'TLS'} and ${sasl === undefined ? 'no SASL' : 'SASL'}`;
  const certificate =
    tls !== undefined && !('cert' in tls && tls.cert !== undefined) ? ', or a client certificate' : '';
  return `kafka.tls and kafka.sasl say ${has}: the listeners at these ports may want something else${certificate}; \`kpipe brokers\` shows whether they are up`;
}

function speaksTls(all: readonly unknown[]): boolean {
  return all.some((each) => messageOf(each).includes(wantsTls));
}

function offeredMechanisms(error: unknown): readonly string[] {
  const list = field(field(error, 'response'), 'mechanisms');
  return Array.isArray(list) ? list.filter((name) => typeof name === 'string') : [];
}

/** `subjectAltName` of the certificate that was shown. */
function certificateNames(error: unknown): string {
  return textField(field(error, 'cert'), 'subjectaltname') ?? '';
}

/** kafkajs puts its own words before the broker's. */
function afterColon(text: string): string {
  return text.replace(/^.*?authentication failed: /, '');
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
