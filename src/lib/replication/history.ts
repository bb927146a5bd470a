import type { LsnSample } from './lag-time.ts';
import { factsOf, type Conflicts, type ReplicationObservation } from './observation.ts';

/** What earlier looks leave for the next one. */
export interface ReplicationHistory {
  readonly samples: readonly LsnSample[];
  /** Queries cancelled by recovery so far, by standby. */
  readonly conflicts: ReadonlyMap<string, number>;
}

export const noHistory: ReplicationHistory = { samples: [], conflicts: new Map() };

/** An hour of looks every two seconds. */
const maxSamples = 1800;

export function remember(history: ReplicationHistory, observation: ReplicationObservation): ReplicationHistory {
  const primary = factsOf(observation.primary);
  const { samples } = history;
  const conflicts = new Map(history.conflicts);
  for (const { name, asked } of observation.standbys) {
    if (asked.kind === 'answered') {
      conflicts.set(name, totalConflicts(asked.facts.conflicts));
    }
  }
  return {
    samples:
      primary === null || primary.inRecovery
        ? samples
        : [...samples, { atMs: observation.observedAtMs, lsn: primary.lsn }].slice(-maxSamples),
    conflicts,
  };
}

export function totalConflicts({ tablespace, lock, snapshot, bufferpin, deadlock, logicalSlot }: Conflicts): number {
  return tablespace + lock + snapshot + bufferpin + deadlock + logicalSlot;
}
