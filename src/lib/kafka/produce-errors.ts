import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, messageOf, type ErrorContext } from '../errors.ts';
import { accessFailure, hangUp } from './access-failures.ts';
import { causes, textField } from './causes.ts';
import { unreachable } from './failures.ts';
import { grantNext, rightText, type MissingRight } from './missing-rights.ts';

/**
 * What a failed send means for its records.
 * - `retry`: the same batch again. `rebuild`: with a new producer, because this one's sequence numbers are beyond repair.
 * - `record`: the broker refuses a record of the batch; it does not say which.
 * - `missing`: the topic is not there, or not yet everywhere.
 * - `fatal`: no retry helps.
 */
export type SendFailure =
  | { readonly kind: 'retry'; readonly rebuild: boolean; readonly unreachable: boolean; readonly cause: unknown }
  | { readonly kind: 'record'; readonly tooLarge: boolean; readonly cause: unknown }
  | { readonly kind: 'missing'; readonly cause: unknown }
  | { readonly kind: 'fatal'; readonly cause: unknown };

const recordErrors = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_TIMESTAMP', 'INVALID_RECORD']);
const lostProducer = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
  'PRODUCER_FENCED',
]);
const fatal = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'SASL_AUTHENTICATION_FAILED',
  'ILLEGAL_SASL_STATE',
  'UNSUPPORTED_SASL_MECHANISM',
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_REQUIRED_ACKS',
  'UNSUPPORTED_VERSION',
  'POLICY_VIOLATION',
]);

export function classifySendFailure(error: unknown): SendFailure {
  const chain = causes(error);
  const types = chain.map((link) => textField(link, 'type'));
  const has = (set: ReadonlySet<string>): boolean => types.some((type) => type !== undefined && set.has(type));
  const named = (name: string): boolean => chain.some((link) => textField(link, 'name') === name);
  if (has(recordErrors)) {
    return { kind: 'record', tooLarge: types.some((type) => type?.endsWith('TOO_LARGE') === true), cause: error };
  }
  if (types.includes('UNKNOWN_TOPIC_OR_PARTITION')) {
    return { kind: 'missing', cause: error };
  }
  if (has(fatal) || named('KafkaJSSASLAuthenticationError')) {
    return { kind: 'fatal', cause: error };
  }
  const cutOff = ['KafkaJSConnectionError', 'KafkaJSConnectionClosedError', 'KafkaJSNoBrokerAvailableError'].some(
    named,
  );
  return { kind: 'retry', rebuild: has(lostProducer), unreachable: cutOff, cause: error };
}

export function topicMissing(topic: string, cause?: unknown): KpipeError {
  return new KpipeError('KPIPE_TOPIC_MISSING', `the topic ${topic} does not exist`, {
    next: 'kpipe topics apply makes the topics that kpipe.yaml declares',
    where: { topic },
    cause,
  });
}

/** What a producer needs, by what kafkajs' errors tell was refused. A producer id takes `Write` on whichever topic. */
const needed: Readonly<Record<string, Omit<MissingRight, 'name' | 'id'>>> = {
  TOPIC_AUTHORIZATION_FAILED: { operation: 'Write', resource: 'topic' },
  CLUSTER_AUTHORIZATION_FAILED: { operation: 'Write', resource: 'topic' },
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: { operation: 'Write', resource: 'transactional id' },
  GROUP_AUTHORIZATION_FAILED: { operation: 'Read', resource: 'group' },
};

/** The right that is missing, by an error of kafkajs; null: it is about something else. */
function deniedRight(error: unknown, where: ErrorContext): MissingRight | null {
  const id = causes(error)
    .map((cause) => textField(cause, 'type') ?? '')
    .find((type) => type in needed);
  const right = id === undefined ? undefined : needed[id];
  if (id === undefined || right === undefined) {
    return null;
  }
  const named =
    right.resource === 'topic'
      ? (where['topic'] ?? where['topics'])
      : where[right.resource === 'group' ? 'group' : 'transactionalId'];
  return { ...right, name: typeof named === 'string' ? named : null, id };
}

export function refused(what: string, where: ErrorContext, cause: unknown): KpipeError {
  const right = deniedRight(cause, where);
  if (right !== null) {
    return new KpipeError('KPIPE_PRODUCE_FAILED', `Kafka refused ${what}: ${rightText(right)}`, {
      next: grantNext([right]),
      where,
      cause,
    });
  }
  return new KpipeError('KPIPE_PRODUCE_FAILED', `Kafka refused ${what}: ${messageOf(cause)}`, {
    next: "the topic's configuration and the rights of this client decide: kpipe topics describe shows the former",
    where,
    cause,
  });
}

export function recordRefused(bytes: number, tooLarge: boolean, where: ErrorContext, cause: unknown): KpipeError {
  const reason = tooLarge
    ? "is larger than the topic's max.message.bytes"
    : `is refused by the broker: ${messageOf(cause)}`;
  return new KpipeError('KPIPE_PRODUCE_FAILED', `a record of ${bytes} bytes ${reason}`, {
    next: tooLarge
      ? 'make the record smaller, or raise max.message.bytes of the topic in kpipe.yaml'
      : 'correct the record and send it again',
    where,
    cause,
  });
}

export function notAcked(afterMs: number, where: ErrorContext, cause: unknown): KpipeError {
  return new KpipeError(
    'KPIPE_PRODUCE_FAILED',
    `not acknowledged by all in-sync replicas within ${Math.round(afterMs / 1000)} s: ${messageOf(cause)}`,
    {
      next: 'the records may or may not be in the topic: send them again with the same ids; kpipe brokers shows what is wrong',
      where,
      cause,
    },
  );
}

/** The first contact failed. */
export function connectFailure(config: KafkaConfig, error: unknown, where: ErrorContext = {}): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const access = accessFailure(config, brokerIn(error) ?? anyOf(config), error);
  if (access !== null) {
    return access;
  }
  const right = deniedRight(error, where);
  if (right !== null) {
    return new KpipeError('KPIPE_KAFKA_FAILED', `Kafka gives out no producer id: ${rightText(right)}`, {
      where,
      next: grantNext([right]),
      cause: error,
    });
  }
  const failure = classifySendFailure(error);
  if (failure.kind === 'fatal') {
    return new KpipeError('KPIPE_KAFKA_FAILED', `Kafka refused the connection: ${messageOf(error)}`, {
      where: { brokers: config.brokers.join(',') },
      next: 'check kafka.sasl and kafka.tls in kpipe.yaml, and the rights of this user',
      cause: error,
    });
  }
  const closed = hangUp(config, error);
  return unreachable(config, [closed === null ? messageOf(error) : `they ${closed}`], error);
}

export function anyOf({ brokers }: KafkaConfig): string {
  return brokers.length === 1 ? brokers.join('') : `one of ${brokers.join(', ')}`;
}

/** kafkajs' connection errors name their broker. */
export function brokerIn(error: unknown): string | undefined {
  return causes(error)
    .map((cause) => textField(cause, 'broker'))
    .find((broker) => broker !== undefined);
}
