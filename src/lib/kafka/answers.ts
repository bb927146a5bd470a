import type { KafkaConnections } from './connections.ts';
import type { BrokerRefusal } from './failures.ts';

/** Answers of which some parts may be errors: what is refused of one group or partition is no word about the others. */

/** What a broker says of one of many. */
export type Answered<Value> =
  | { readonly kind: 'known'; readonly value: Value }
  | { readonly kind: 'refused'; readonly refusal: BrokerRefusal };

/** A part of an answer with the error code that it came with. */
export function answered<Value>(
  kafka: KafkaConnections,
  part: { readonly errorCode: number; readonly errorMessage?: string | null | undefined },
  value: () => Value,
): Answered<Value> {
  if (part.errorCode === 0) {
    return { kind: 'known', value: value() };
  }
  return { kind: 'refused', refusal: refusalOf(kafka, part.errorCode, part.errorMessage ?? '') };
}

export function refusalOf({ driver }: KafkaConnections, errorCode: number, message = ''): BrokerRefusal {
  return { id: driver.protocolErrorsCodesById[errorCode] ?? `error ${errorCode}`, message };
}

/**
 * The driver rejects an answer that holds any error, and keeps it. This is the answer all the same: each of its parts has
 * an error code of its own.
 */
export async function partly<Answer>(request: Promise<Answer>): Promise<Answer> {
  try {
    return await request;
  } catch (error) {
    const answer = answerIn(error);
    if (answer === null) {
      throw error;
    }
    return answer as Answer;
  }
}

function answerIn(error: unknown): object | null {
  return typeof error === 'object' && error !== null && 'response' in error && typeof error.response === 'object'
    ? error.response
    : null;
}
