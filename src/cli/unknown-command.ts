import type { Hook, Interfaces } from '@oclif/core';

import { nearestName } from '../lib/config/nearest.ts';
import { KpipeError } from '../lib/errors.ts';

/**
 * The refusal of a command that does not exist. `typed`, `commands` and `topics` are as a user types them: `topics plan`.
 * oclif takes what follows a command without arguments for a part of its name.
 */
export function unknownCommand(typed: string, commands: readonly string[], topics: readonly string[]): KpipeError {
  const words = typed.split(' ');
  const command = words
    .map((_, dropped) => words.slice(0, words.length - dropped).join(' '))
    .find((start) => commands.includes(start));
  if (command !== undefined) {
    const rest = typed.slice(command.length + 1);
    const below = commands.filter((name) => name.startsWith(`${command} `));
    return new KpipeError('KPIPE_USAGE', `kpipe ${command} takes no argument: ${rest}`, {
      next: suggestion(nearestName(typed, below)) ?? 'see --help',
    });
  }
  // What follows a mistyped command may be its arguments: fewer words are tried, too.
  const [nearest] = words
    .map((_, dropped) => nearestName(words.slice(0, words.length - dropped).join(' '), [...commands, ...topics]))
    .filter((name) => name !== undefined);
  return new KpipeError('KPIPE_USAGE', `there is no command "${typed}"`, {
    next: suggestion(nearest) ?? 'kpipe --help lists the commands',
  });
}

function suggestion(command: string | undefined): string | undefined {
  return command === undefined ? undefined : `did you mean kpipe ${command}?`;
}

/** The names of all commands, and of all topics, as a user types them. */
export function commandNames(config: Interfaces.Config): [commands: readonly string[], topics: readonly string[]] {
  const typed = (id: string): string => id.replaceAll(':', ' ');
  return [config.commandIDs.map(typed), config.topics.map(({ name }) => typed(name))];
}

/** oclif's hook for a command that it does not find. */
const hook: Hook.CommandNotFound = ({ id, config }) => {
  throw unknownCommand(id.replaceAll(':', ' '), ...commandNames(config));
};

export default hook;
