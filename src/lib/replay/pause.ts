import { KpipeError } from '../errors.ts';
import type { GroupAdmin } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';
import { formatPause, pauseGroup, pauseLease } from '../runtime/step-aside.ts';
import type { ReplayRole } from './observe.ts';

export interface PauseOptions {
  /** How long the consumers have for writing what they have read and for leaving. */
  readonly withinMs: number;
  readonly operator: string;
  readonly signal: AbortSignal;
  readonly notice: (text: string) => void;
}

/**
 * Asks the role's running consumers to step aside, runs `work` once the group has no members, and lets them come back.
 * The request has to be renewed: should this process die, they come back by themselves (step-aside.ts).
 * @throws KPIPE_REFUSED when members are left after `withinMs`: some other program, or a kpipe that does not answer
 */
export async function whilePaused<Result>(
  admin: GroupAdmin,
  role: Pick<ReplayRole, 'group' | 'topic'>,
  options: PauseOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  const lease = new PauseRequest(admin, role, options.operator);
  await lease.renew();
  const renewing = setInterval(() => void lease.renew().catch(() => undefined), pauseLease.renewMs);
  try {
    await untilEmpty(admin, role.group, options);
    return await work();
  } finally {
    clearInterval(renewing);
    await lease.end();
    options.notice(`the consumers of group ${role.group} may come back`);
  }
}

class PauseRequest {
  readonly #admin: GroupAdmin;
  readonly #role: Pick<ReplayRole, 'group' | 'topic'>;
  readonly #operator: string;
  #beat = 0n;

  constructor(admin: GroupAdmin, role: Pick<ReplayRole, 'group' | 'topic'>, operator: string) {
    this.#admin = admin;
    this.#role = role;
    this.#operator = operator;
  }

  async renew(): Promise<void> {
    this.#beat += 1n;
    const { group, topic } = this.#role;
    await this.#admin.commitOffsets(pauseGroup(group), [
      { topic, partition: 0, offset: this.#beat, metadata: formatPause(this.#operator) },
    ]);
  }

  /** Should it fail, the lease runs out. */
  async end(): Promise<void> {
    await this.#admin.deleteGroup(pauseGroup(this.#role.group)).catch(() => undefined);
  }
}

async function untilEmpty(admin: GroupAdmin, group: string, options: PauseOptions): Promise<void> {
  const until = performance.now() + options.withinMs;
  for (let told = false; ; told = true) {
    options.signal.throwIfAborted();
    const { members } = await admin.describeGroup(group);
    if (members.length === 0) {
      return;
    }
    if (!told) {
      options.notice(`waiting for ${members.length} members of group ${group} to step aside`);
    }
    if (performance.now() >= until) {
      const left = members.map(({ clientId, host }) => `${clientId}@${host}`).join(', ');
      throw new KpipeError('KPIPE_REFUSED', `group ${group} still has members: ${left}`, {
        next: 'nothing was changed; stop those that are no consumers of kpipe, or give them more time with --pause-within',
      });
    }
    await wait(200, options.signal);
  }
}
