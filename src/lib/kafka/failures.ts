import type { KafkaConfig } from '../config/load.ts';
import { codeOf, KpipeError, messageOf, type ErrorCode, type ErrorContext } from '../errors.ts';
import { accessFailure, hangUp, hangUpNext } from './access-failures.ts';
import { causes, textField } from './causes.ts';
import { grantNext, missingRights, rightText, type MissingRight } from './missing-rights.ts';

/** What a broker said no with: Kafka's name of the error, and its own words where it gave any. */
export interface BrokerRefusal {
  /** `INVALID_CONFIG`, `TOPIC_AUTHORIZATION_FAILED`, … */
  readonly id: string;
  readonly message: string;
}

/** The broker's refusals inside an error of @platformatic/kafka; empty when it is none. */
export function refusalsOf(error: unknown): readonly BrokerRefusal[] {
  return causes(error).flatMap((cause) => {
    const id = textField(cause, 'apiId');
    return id === undefined ? [] : [{ id, message: textField(cause, 'serverErrorMessage') ?? messageOf(cause) }];
  });
}

/** Errors that a later attempt may not see: a leader, coordinator or controller has moved or is starting. */
const transient = new Set([
  'NOT_CONTROLLER',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'REPLICA_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
  'NETWORK_EXCEPTION',
]);

export function isTransient(error: unknown): boolean {
  const refusals = refusalsOf(error);
  return refusals.length > 0 && refusals.every(isMoving);
}

/** It may be gone with the next attempt. */
export function isMoving({ id }: BrokerRefusal): boolean {
  return transient.has(id);
}

/** A refusal of one part of an answer, as a phrase; `what` as in `no right to read topic t`. */
export function refusalText({ id, message }: BrokerRefusal, what: string): string {
  if (id.endsWith('AUTHORIZATION_FAILED')) {
    return `no right to ${what} (${id})`;
  }
  return message === '' ? `Kafka says ${id}` : `Kafka says ${id}: ${message}`;
}

/** The connection went away under the request (not: could not be made). */
export function isConnectionLoss(error: unknown): boolean {
  return refusalsOf(error).length === 0 && textField(error, 'code') === 'PLT_KFK_NETWORK';
}

/** No broker could be reached: the brokers, why each failed, and what to look at. */
export function unreachable(config: KafkaConfig, reasons: readonly string[], cause?: unknown): KpipeError {
  const distinct = [...new Set(reasons)];
  const why = distinct.length === 0 ? '' : `: ${distinct.join('; ')}`;
  return new KpipeError('KPIPE_KAFKA_UNREACHABLE', `no Kafka broker answered${why}`, {
    where: { brokers: config.brokers.join(',') },
    next: distinct.some((reason) => reason.includes('closed the connection'))
      ? hangUpNext(config)
      : 'start the cluster (`kpipe sandbox up` for the local one) or correct kafka.brokers in kpipe.yaml',
    cause,
  });
}

/** A failed connection attempt in one phrase, or an error that no other broker could cure. */
export function connectionFailure(config: KafkaConfig, broker: string, error: unknown): KpipeError | string {
  const access = accessFailure(config, broker, error);
  if (access !== null) {
    return access;
  }
  const closed = hangUp(config, error);
  if (closed !== null) {
    return `${broker} ${closed}`;
  }
  const all = causes(error);
  const texts = all.map(messageOf);
  const system = all.map(codeOf).find((code) => code !== undefined && !code.startsWith('PLT_KFK'));
  return `${broker} ${system === undefined ? lowerFirst(texts.at(-1) ?? 'failed') : (plainWords[system] ?? system)}`;
}

const plainWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  ENOTFOUND: 'is a name that cannot be resolved',
  EAI_AGAIN: 'is a name that cannot be resolved now',
  ECONNRESET: 'closed the connection',
  EHOSTUNREACH: 'is not routed to',
  ENETUNREACH: 'is not routed to',
  ETIMEDOUT: 'did not answer in time',
};

/** Any other failure of a call, with what the broker said. */
export function callFailure(what: string, error: unknown, where: ErrorContext): KpipeError {
  if (error instanceof KpipeError) {
    return error;
  }
  const refusals = refusalsOf(error);
  const rights = missingRights(error).map((right) => ({ ...right, name: right.name ?? nameIn(where, right) }));
  if (rights.length > 0) {
    return new KpipeError('KPIPE_KAFKA_FAILED', `${what} failed: ${rights.map(rightText).join('; ')}`, {
      where,
      next: grantNext(rights),
      cause: error,
    });
  }
  if (refusals.length === 0) {
    // One broker that is away: its partitions move to others in seconds, so that waiting helps.
    const code = isConnectionLoss(error) ? 'KPIPE_KAFKA_UNREACHABLE' : 'KPIPE_KAFKA_FAILED';
    return new KpipeError(code, `${what} failed: ${messageOf(error)}`, {
      where,
      next: '`kpipe doctor` looks at every store',
      cause: error,
    });
  }
  const said = [...new Set(refusals.map(({ id, message }) => `${id}: ${message}`))].join('; ');
  const { code, next } = isTransient(error) ? stillMoving : meaningOf(refusals.map(({ id }) => id));
  return new KpipeError(code, `${what} failed: ${said}`, { where, next, cause: error });
}

/** The answer to a question about one thing may leave out what it was about. */
function nameIn(where: ErrorContext, { resource }: MissingRight): string | null {
  const name = resource === 'topic' ? where['topic'] : resource === 'group' ? where['group'] : undefined;
  return typeof name === 'string' ? name : null;
}

const stillMoving = {
  code: 'KPIPE_KAFKA_UNREACHABLE',
  next: 'a leader or coordinator is being moved or started: try again; `kpipe doctor` looks at the brokers',
} as const;

/** What Kafka's error names mean for the exit code, and what to do. */
function meaningOf(ids: readonly string[]): { readonly code: ErrorCode; readonly next: string } {
  if (ids.includes('INVALID_CONFIG')) {
    return { code: 'KPIPE_CONFIG_INVALID', next: 'correct the key or its value' };
  }
  if (ids.some((id) => refusedByRule.has(id))) {
    return { code: 'KPIPE_REFUSED', next: 'ask for what the cluster allows' };
  }
  return { code: 'KPIPE_KAFKA_FAILED', next: '`kpipe doctor` looks at every store' };
}

const refusedByRule = new Set([
  'POLICY_VIOLATION',
  'INVALID_PARTITIONS',
  'INVALID_REPLICATION_FACTOR',
  'INVALID_REPLICA_ASSIGNMENT',
  'INVALID_TOPIC_EXCEPTION',
  'THROTTLING_QUOTA_EXCEEDED',
]);

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
