import type { RunResult } from '../runtime/run-options.ts';
import type { PauseWatch } from '../runtime/step-aside.ts';

export interface SteppingAside {
  /** Ends everything. */
  readonly signal: AbortSignal;
  readonly notice: (text: string) => void;
}

/**
 * Runs a role, and runs it again after each time that an operator has asked its consumers to step aside: a run that is
 * asked drains and leaves the group, and the next begins where the role's truth then is.
 * @param run one membership, until its signal aborts or it ends by itself
 */
export async function runSteppingAside(
  pauses: PauseWatch,
  { signal, notice }: SteppingAside,
  run: (signal: AbortSignal) => Promise<RunResult>,
): Promise<RunResult> {
  for (;;) {
    const asked = await pauses.now();
    if (asked !== null) {
      notice(`standing aside: ${asked.by} sets the positions`);
      await pauses.over(signal);
      notice('coming back');
    }
    const aside = new AbortController();
    const ended = new AbortController();
    const watching = pauses.requested(AbortSignal.any([signal, ended.signal])).then((request) => {
      if (request !== null) {
        aside.abort();
      }
    });
    try {
      const result = await run(AbortSignal.any([signal, aside.signal]));
      if (!aside.signal.aborted || signal.aborted) {
        return result;
      }
    } finally {
      ended.abort();
      await watching;
    }
  }
}
