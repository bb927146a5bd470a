import { codeOf, KpipeError, type ErrorContext } from '../../errors.ts';
import { isAccessFailure } from '../access-failures.ts';
import { callFailure, isTransient, refusalsOf } from '../failures.ts';

/** What an error in talking to a group's coordinator means for the member. */
export type Verdict =
  /** The coordinator moves, starts or is away: ask again. */
  | { readonly kind: 'retry' }
  /** Join again, with everything that is owned. */
  | { readonly kind: 'rebalance' }
  /** What was owned may be somebody else's. `forget`: the member id is worth nothing either. */
  | { readonly kind: 'lost'; readonly forget: boolean }
  /** The instance id is another living member's, until its session ends. */
  | { readonly kind: 'unreleased' }
  | { readonly kind: 'refused'; readonly error: KpipeError }
  | { readonly kind: 'fatal'; readonly error: KpipeError };

const passing = new Set([
  'UNKNOWN_SERVER_ERROR',
  'REQUEST_TIMED_OUT',
  'BROKER_NOT_AVAILABLE',
  'THROTTLING_QUOTA_EXCEEDED',
]);

/** Errors that say: the request was understood, and the member has no place in the group any more. */
const lost: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['UNKNOWN_MEMBER_ID', { kind: 'lost', forget: true }],
  ['ILLEGAL_GENERATION', { kind: 'lost', forget: false }],
  ['FENCED_MEMBER_EPOCH', { kind: 'lost', forget: false }],
  ['REBALANCE_IN_PROGRESS', { kind: 'rebalance' }],
  ['UNRELEASED_INSTANCE_ID', { kind: 'unreleased' }],
]);

export function verdictOn(error: unknown, group: string, instanceId: string | null): Verdict {
  if (isAccessFailure(error)) {
    // Whoever tries again stops in time (contact.ts).
    return { kind: 'retry' };
  }
  const ids = refusalsOf(error).map(({ id }) => id);
  const [first] = ids;
  if (first === undefined) {
    return unanswered(error, group);
  }
  if (isTransient(error) || ids.every((id) => passing.has(id))) {
    return { kind: 'retry' };
  }
  return lost.get(first) ?? refusal(first, error, { group, ...(instanceId === null ? {} : { instanceId }) });
}

/** No broker has answered. What is no failure of the network is one of ours, and is not tried again. */
function unanswered(error: unknown, group: string): Verdict {
  if (error instanceof KpipeError) {
    return error.code === 'KPIPE_KAFKA_UNREACHABLE' ? { kind: 'retry' } : { kind: 'fatal', error };
  }
  const code = codeOf(error);
  return code !== undefined && /^(?:PLT_KFK_(?:NETWORK|TIMEOUT|MULTIPLE|UNEXPECTED)|E[A-Z]+$)/.test(code)
    ? { kind: 'retry' }
    : { kind: 'fatal', error: callFailure('talking to the group', error, { group }) };
}

function refusal(id: string, error: unknown, where: ErrorContext): Verdict {
  const fatal = (text: string, next: string): Verdict => ({
    kind: 'fatal',
    error: new KpipeError('KPIPE_KAFKA_FAILED', text, { where, next, cause: error }),
  });
  const { group, instanceId } = where;
  switch (id) {
    case 'FENCED_INSTANCE_ID':
      return fatal(
        `another process has joined group ${group} as ${instanceId}, which this one was`,
        'give each process of a role its own kafka.group.instanceId, or stop one of the two',
      );
    case 'INCONSISTENT_GROUP_PROTOCOL':
      return fatal(
        `group ${group} has members that assign partitions in another way`,
        'stop them first: members that rebalance eagerly and cooperatively cannot share a group',
      );
    case 'INVALID_SESSION_TIMEOUT':
      return fatal(
        'the brokers refuse kafka.sessionTimeout',
        'choose one between their group.min.session.timeout.ms and group.max.session.timeout.ms (6s to 30m by default)',
      );
    case 'UNSUPPORTED_VERSION':
    case 'GROUP_ID_NOT_FOUND':
      return {
        kind: 'refused',
        error: new KpipeError('KPIPE_KAFKA_FAILED', `the brokers decline group protocol consumer for group ${group}`, {
          where,
          next: 'set kafka.group.protocol to classic or auto, or stop the members that speak the classic protocol',
          cause: error,
        }),
      };
    default:
      return { kind: 'fatal', error: callFailure(`joining group ${group}`, error, where) };
  }
}
