import { nearestName } from '../../lib/config/nearest.ts';
import { KpipeError } from '../../lib/errors.ts';

interface Rewording {
  readonly pattern: RegExp;
  readonly words: (...found: readonly string[]) => string;
  /** What may have been meant, where one of a few names was expected. */
  readonly typed?: (...found: readonly string[]) => readonly [typed: string, known: readonly string[]];
}

const names = (list: string): readonly string[] => list.split(', ');

/** What oclif's parser says, in kpipe's words. */
const rewordings: readonly Rewording[] = [
  { pattern: /^Parsing (\S+) \n\t(.*)$/s, words: (flag = '', why = '') => `${flag}: ${lowerFirst(why)}` },
  { pattern: /^Nonexistent flags?: (.*)$/, words: (flags = '') => `there is no flag ${flags}` },
  { pattern: /^Unexpected arguments?: (.*)$/, words: (args = '') => `an argument too many: ${args}` },
  { pattern: /^Flag (\S+) expects a value$/, words: (flag = '') => `${flag} needs a value` },
  { pattern: /^Missing required flag (.*)$/, words: (flag = '') => `--${flag} is missing` },
  {
    pattern: /^Missing \d+ required args?:\n(.*)$/s,
    words: (args = '') => args.split('\n').map(missingArgument).join('\n'),
  },
  {
    pattern: /^Expected (--[^=\s]+)=(.*) to be one of: (.*)$/,
    words: (flag, value, known) => `${flag}: ${value} is not one of ${known}`,
    typed: (_, value = '', known = '') => [value, names(known)],
  },
  {
    pattern: /^Expected (.*) to be one of: (.*)$/,
    words: (value, known) => `${value} is not one of ${known}`,
    typed: (value = '', known = '') => [value, names(known)],
  },
  {
    pattern: /^All of the following must be provided when using (\S+): (.*)$/,
    words: (flag, needed) => `${flag} needs ${needed}`,
  },
  {
    pattern: /^(.*) cannot also be provided when using (\S+)$/,
    words: (one = '', other) => `${one.replace(/=true$/, '')} and ${other} exclude each other`,
  },
];

/** The refusal of a command line that oclif's parser did not take, with the flag or name that was most likely meant. */
export function usageError(error: Error): KpipeError {
  const [text = 'wrong usage'] = error.message.split('\nSee more help');
  const said = withoutFrame(text.trim()).split('\n  ').map(reworded);
  const [suggestion] = [...said.map(({ meant }) => meant), nearestFlag(error)].filter((name) => name !== undefined);
  const next = suggestion === undefined ? 'see --help' : `did you mean ${suggestion}?`;
  return new KpipeError('KPIPE_USAGE', said.map(({ words }) => words).join('\n'), { next, cause: error });
}

/** Its heading over several failures, and its advice on flags that kpipe declares otherwise. */
function withoutFrame(text: string): string {
  return text.replace(/^The following errors? occurred:\s+/, '').replace(/\n+Note: --[\s\S]*$/, '');
}

function reworded(text: string): { readonly words: string; readonly meant?: string | undefined } {
  for (const { pattern, words, typed } of rewordings) {
    const found = pattern.exec(text)?.slice(1);
    if (found !== undefined) {
      return { words: words(...found), meant: typed === undefined ? undefined : nearestName(...typed(...found)) };
    }
  }
  return { words: text };
}

/** oclif aligns an argument's name and its description in two columns. */
function missingArgument(line: string): string {
  const [name = '', ...description] = line.trim().split(/\s{2,}/);
  const what = description.join(' ').replace(/^\(\S*\) /, '');
  return `${name.toUpperCase()} is missing${what === '' ? '' : `: ${what}`}`;
}

/** The command's flag that is nearest to the first one that it does not have. */
function nearestFlag(error: Error): string | undefined {
  const typed = /^Nonexistent flags?: (--[^\s,]+)/.exec(error.message)?.[1];
  const flags = ['parse', 'input', 'flags'].reduce<unknown>(memberOf, error);
  if (typed === undefined || typeof flags !== 'object' || flags === null) {
    return undefined;
  }
  return nearestName(
    typed,
    Object.keys(flags).map((name) => `--${name}`),
  );
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
