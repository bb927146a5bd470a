import { z } from 'zod';

/**
 * A commit that a replay made says so in its metadata, until a consumer commits the next: so a replay that was killed
 * finds out how far it had come.
 */
const mark = z.strictObject({ replay: z.string().max(100) });

export function formatCommitMark(replayId: string): string {
  return JSON.stringify({ replay: replayId });
}

/** The replay that made the commit with this metadata; null for any other metadata. */
export function replayOfCommit(metadata: string): string | null {
  try {
    const parsed = mark.safeParse(JSON.parse(metadata));
    return parsed.success ? parsed.data.replay : null;
  } catch {
    return null;
  }
}
