import type { Pool } from './pool.ts';

const beatEveryMs = 10_000;

/**
 * Moves kpipe.heartbeat's one row now and then, so that a standby's lag in time is known on an idle primary too. Several
 * consumers share it: one that finds a fresh beat leaves it alone. A beat that fails is let go, the role's own writes tell
 * what is wrong. Answers the function that ends it.
 */
export function startHeartbeat(pool: Pool): () => void {
  const beat = (): void => void pool.query(updateHeartbeat).catch(() => undefined);
  beat();
  const timer = setInterval(beat, beatEveryMs);
  return () => clearInterval(timer);
}

const updateHeartbeat = `
  update kpipe.heartbeat
     set beat_at = clock_timestamp()
   where beat_at < clock_timestamp() - interval '5 seconds'`;
