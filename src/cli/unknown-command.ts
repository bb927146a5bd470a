import type { Hook } from '@oclif/core';

import { nearestName } from '../lib/config/nearest.ts';
import { KpipeError } from '../lib/errors.ts';

/** The refusal of a command that does not exist. `typed` and `known` are as a user types them: `topics plan`. */
export function unknownCommand(typed: string, known: readonly string[]): KpipeError {
  const words = typed.split(' ');
  // What follows a mistyped command may be its arguments: fewer words are tried, too.
  const [nearest] = words
    .map((_, dropped) => nearestName(words.slice(0, words.length - dropped).join(' '), known))
    .filter((name) => name !== undefined);
  return new KpipeError('KPIPE_USAGE', `there is no command "${typed}"`, {
    next: nearest === undefined ? 'kpipe --help lists the commands' : `did you mean kpipe ${nearest}?`,
  });
}

/** oclif's hook for a command that it does not find. */
const hook: Hook.CommandNotFound = ({ id, config }) => {
  const name = (commandId: string): string => commandId.replaceAll(':', ' ');
  const known = [...config.commandIDs, ...config.topics.map((topic) => topic.name)].map(name);
  throw unknownCommand(name(id), known);
};

export default hook;
