import { createInterface } from 'node:readline/promises';

import { KpipeError } from '../lib/errors.ts';

/**
 * Wants the name of each topic that is to be deleted: typed on a terminal, elsewhere given by --prune.
 * @throws KPIPE_USAGE for a name that the plan does not delete; KPIPE_CONFIRMATION_REQUIRED, KPIPE_DECLINED, KPIPE_INTERRUPTED: nothing was changed
 */
export async function confirmDeletions(topics: readonly string[], named: readonly string[]): Promise<void> {
  const others = named.filter((name) => !topics.includes(name));
  if (others.length > 0) {
    throw new KpipeError('KPIPE_USAGE', `the saved plan does not delete ${others.join(', ')}`, {
      next: `plan again: kpipe topics plan ${others.map((name) => `--prune ${name}`).join(' ')} --out FILE`,
    });
  }
  if (topics.length === 0) {
    return;
  }
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    const unnamed = topics.filter((topic) => !named.includes(topic));
    if (unnamed.length > 0) {
      throw new KpipeError('KPIPE_CONFIRMATION_REQUIRED', `deleting ${unnamed.join(', ')} needs each name`, {
        next: `add ${unnamed.map((topic) => `--prune ${topic}`).join(' ')}`,
      });
    }
    return;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    for (const topic of topics) {
      const answer = await terminal.question(`deletes topic ${topic} for good. Type its name to go on: `);
      if (answer.trim() !== topic) {
        throw new KpipeError('KPIPE_DECLINED', `deleting ${topic}: declined, nothing was changed`);
      }
    }
  } catch (error) {
    if (error instanceof KpipeError) {
      throw error;
    }
    throw new KpipeError('KPIPE_INTERRUPTED', 'interrupted, nothing was changed', { cause: error });
  } finally {
    terminal.close();
  }
}
