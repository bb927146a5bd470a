import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, messageOf, type ErrorContext } from '../errors.ts';
import { unreachable } from './failures.ts';

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
  const types = chain.map((link) => textOf(link, 'type'));
  const has = (set: ReadonlySet<string>): boolean => types.some((type) => type !== undefined && set.has(type));
  const named = (name: string): boolean => chain.some((link) => textOf(link, 'name') === name);
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

/** kafkajs wraps what happened into "retries exceeded" and the like. */
function causes(error: unknown): readonly unknown[] {
  const chain: unknown[] = [];
  for (let link = error; link !== undefined && link !== null && chain.length < 8;) {
    chain.push(link);
    link = link instanceof Error ? link.cause : undefined;
  }
  return chain;
}

function textOf(value: unknown, property: string): string | undefined {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, property) : undefined;
  return typeof found === 'string' ? found : undefined;
}

export function topicMissing(topic: string, cause?: unknown): KpipeError {
  return new KpipeError('KPIPE_TOPIC_MISSING', `the topic ${topic} does not exist`, {
    next: 'kpipe topics apply makes the topics that kpipe.yaml declares',
    where: { topic },
    cause,
  });
}

export function refused(what: string, where: ErrorContext, cause: unknown): KpipeError {
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
export function connectFailure(config: KafkaConfig, error: unknown): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const failure = classifySendFailure(error);
  if (failure.kind === 'fatal') {
    return new KpipeError('KPIPE_KAFKA_FAILED', `Kafka refused the connection: ${messageOf(error)}`, {
      where: { brokers: config.brokers.join(',') },
      next: 'check kafka.sasl and kafka.tls in kpipe.yaml, and the rights of this user',
      cause: error,
    });
  }
  return unreachable(config, [messageOf(error)], error);
}
