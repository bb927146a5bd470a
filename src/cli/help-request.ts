/** What a request for help is about: a command or topic as typed (`topics plan`), or '' for kpipe itself. */
export type HelpSubject = string;

const helpFlags = ['--help', '-h'];

/**
 * Whether the arguments ask for help and for nothing else: none at all, words with one help flag at the end, or `help` with words.
 * Anything else (a bare topic, help between flags) is undefined and left to the parser.
 */
export function helpSubject(argv: readonly string[]): HelpSubject | undefined {
  const words = withoutHelp(argv);
  return words?.every((word) => /^[a-z][a-z-]*$/.test(word)) === true ? words.join(' ') : undefined;
}

function withoutHelp(argv: readonly string[]): readonly string[] | undefined {
  const [first] = argv;
  const last = argv.at(-1);
  if (first === undefined || last === undefined) {
    return [];
  }
  if (helpFlags.includes(last)) {
    return argv.slice(0, -1);
  }
  return first === 'help' ? argv.slice(1) : undefined;
}
