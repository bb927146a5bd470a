import type { JournalEntry } from './journal.ts';
import type { ReplayObservation } from './observation.ts';

/** How far an entry that is open has really come, by what the stores say. */
export function truthOf(entry: JournalEntry, seen: ReplayObservation): 'set' | 'not set' | 'unknown' {
  if (entry.state !== 'begun') {
    return 'set';
  }
  const now = entry.moves.map((move) => ({
    move,
    situation: seen.partitions.find(({ partition }) => partition === move.partition),
  }));
  const isSet = now.every(
    ({ move, situation }) => situation?.replayId === entry.id || (move.to === null && situation?.position === null),
  );
  if (isSet) {
    return 'set';
  }
  // PostgreSQL keeps the replay's name until the next replay; a group's commit only until the next commit.
  const isUntouched = now.every(({ move, situation }) => situation?.position === move.from);
  return entry.truth === 'postgres' || isUntouched ? 'not set' : 'unknown';
}
