import { isConnectionLoss, isTransient } from './failures.ts';

/** What only moves (a leader, a coordinator, a connection) is asked again, with longer and longer pauses. */
const firstPauseMs = 50;
const longestPauseMs = 500;

/**
 * Repeats an attempt that failed because something moves. `until` is `performance.now()`'s.
 * @throws what the attempt throws, when it is not worth another or the time is over
 */
export async function repeatWhileMoving<Result>(attempt: () => Promise<Result>, until: number): Promise<Result> {
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await attempt();
    } catch (error) {
      const worthwhile = isTransient(error) || isConnectionLoss(error);
      if (!worthwhile || performance.now() + pauseMs >= until) {
        throw error;
      }
      await jitteredPause(pauseMs);
    }
  }
}

/** Asks for many keys at once, and again for those whose answer is moving, until none is or the time is over. */
export async function askUntilSettled<Key, Answer>(
  keys: readonly Key[],
  ask: (open: readonly Key[]) => Promise<ReadonlyMap<Key, Answer>>,
  isMoving: (answer: Answer) => boolean,
  until: number,
): Promise<ReadonlyMap<Key, Answer>> {
  const settled = new Map<Key, Answer>();
  let open = keys;
  for (let pauseMs = firstPauseMs; open.length > 0; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const answers = await ask(open);
    for (const [key, answer] of answers) {
      settled.set(key, answer);
    }
    open = [...answers].flatMap(([key, answer]) => (isMoving(answer) ? [key] : []));
    if (performance.now() + pauseMs >= until) {
      break;
    }
    if (open.length > 0) {
      await jitteredPause(pauseMs);
    }
  }
  return settled;
}

function jitteredPause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms * (0.5 + Math.random() / 2)));
}
