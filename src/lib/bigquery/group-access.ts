import type { TopicPartition } from '../ports.ts';

/** What the sink asks the role's consumer group: positions are kept there, and nowhere else. */
export interface GroupAccess {
  /** The group's commit of a partition as its coordinator has it now, or null when there is none. */
  committed(partition: TopicPartition): Promise<CommittedPosition | null>;
}

export interface CommittedPosition {
  readonly offset: bigint;
  readonly metadata: string;
}

/** What no repetition cures: a right that is missing, or metadata that the cluster does not keep. */
const fatalNames =
  /^(?:OFFSET_METADATA_TOO_LARGE|INVALID_GROUP_ID|UNSUPPORTED_VERSION|.*AUTHORIZATION_FAILED|.*AUTHENTICATION_FAILED)$/;

/** Whether a refused commit stays refused, by any client's way of naming Kafka's errors. */
export function isFatalRefusal(error: unknown): boolean {
  return causesOf(error).some((cause) =>
    ['type', 'apiId', 'code', 'id'].some((name) => {
      const value: unknown = typeof cause === 'object' && cause !== null ? Reflect.get(cause, name) : undefined;
      return typeof value === 'string' && fatalNames.test(value);
    }),
  );
}

/** An error and everything that it wraps. */
function causesOf(error: unknown): readonly unknown[] {
  if (!(error instanceof Error)) {
    return [error];
  }
  const inner: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
  return [error, ...inner.flatMap(causesOf), ...(error.cause === undefined ? [] : causesOf(error.cause))];
}
