import { z } from 'zod';

import { KpipeError } from '../errors.ts';
import type { GroupAdmin } from '../ports.ts';
import { wait } from './backoff.ts';

/**
 * How an operator asks the consumers of a role to step aside for a moment (`kpipe replay apply --pause-role`), whichever
 * store the role writes to: by a commit in a group beside the role's, which no member ever joins. Its metadata says who
 * asks, its offset rises with each renewal. Consumers look at it now and then; they write what they have read, leave the
 * group, and come back when the request is gone, or when it has not been renewed for `leaseMs` by their own clock: an
 * operator's process that died keeps nobody away for longer than that.
 */
export const pauseLease = { renewMs: 3000, leaseMs: 20_000 } as const;
const lookEveryMs = 2000;
const lookWhilePausedMs = 500;

/** The group beside the role's own. */
export function pauseGroup(group: string): string {
  return `kpipe.pause.${group}`;
}

const request = z.strictObject({ pause: z.strictObject({ by: z.string() }) });

export function formatPause(by: string): string {
  return JSON.stringify({ pause: { by } });
}

/** Who asks, and the renewal; null: nobody. */
export interface PauseRequested {
  readonly by: string;
  readonly beat: bigint;
}

function parsePause(metadata: string, beat: bigint): PauseRequested | null {
  try {
    const parsed = request.safeParse(JSON.parse(metadata));
    return parsed.success ? { by: parsed.data.pause.by, beat } : null;
  } catch {
    return null;
  }
}

type Look = PauseRequested | 'none' | 'unknown';

/** Looks for requests that concern one group. */
export class PauseWatch {
  readonly #admin: Pick<GroupAdmin, 'committedOffsets' | 'deleteGroup'>;
  readonly #group: string;
  readonly #notice: (text: string) => void;
  #isRefused = false;
  /** A request that ran out: it stays what it was when it is seen again. */
  #expired: bigint | null = null;

  /** `notice`: a line for the operator, when the role may not see such requests. */
  constructor(
    admin: Pick<GroupAdmin, 'committedOffsets' | 'deleteGroup'>,
    group: string,
    notice: (text: string) => void = () => undefined,
  ) {
    this.#admin = admin;
    this.#notice = notice;
    this.#group = pauseGroup(group);
  }

  /** Resolves with the next request, or with null when the signal aborts. */
  async requested(signal: AbortSignal): Promise<PauseRequested | null> {
    while (!signal.aborted) {
      const found = await this.now();
      if (found !== null) {
        return found;
      }
      await wait(lookEveryMs, signal);
    }
    return null;
  }

  /** The request as it is now; null also while Kafka is away: a role that reads has other ways to notice that. */
  async now(): Promise<PauseRequested | null> {
    const found = await this.#look();
    return found === 'none' || found === 'unknown' || found.beat === this.#expired ? null : found;
  }

  /** Resolves when the request is gone or has run out, or when the signal aborts. */
  async over(signal: AbortSignal, leaseMs: number = pauseLease.leaseMs): Promise<void> {
    let last: bigint | null = null;
    let renewedAt = performance.now();
    while (!signal.aborted) {
      const found = await this.#look();
      if (found === 'none') {
        return;
      }
      if (found !== 'unknown' && found.beat !== last) {
        last = found.beat;
        renewedAt = performance.now();
      }
      if (performance.now() - renewedAt >= leaseMs) {
        this.#expired = last;
        // Nobody is left to take it back, and whoever starts next need not wait for it.
        await this.#admin.deleteGroup(this.#group).catch(() => undefined);
        return;
      }
      await wait(lookWhilePausedMs, signal);
    }
  }

  async #look(): Promise<Look> {
    try {
      const [commit] = await this.#admin.committedOffsets(this.#group);
      return commit === undefined ? 'none' : (parsePause(commit.metadata, commit.offset) ?? 'none');
    } catch (error) {
      if (!this.#isRefused && error instanceof KpipeError && error.code === 'KPIPE_KAFKA_FAILED') {
        this.#isRefused = true;
        this.#notice(`kpipe replay cannot ask this role to step aside: ${error.message}`);
      }
      return 'unknown';
    }
  }
}
