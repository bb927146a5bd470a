/** What servers write before or after the line that says why: stack frames, shutdown notices, continuation lines. */
const noise = [
  /^\s+at /,
  /^\s*\.\.\. \d+ more$/,
  /^\s*$/,
  /^\s*\^+\s*$/,
  /database system is (shut down|starting up|in recovery mode|not (yet )?accepting connections)/,
  /shutdown|shutting down|stopped/i,
  /^\s*(HINT|DETAIL|CONTEXT|STATEMENT):/,
];

const says =
  /\b(ERROR|FATAL|PANIC|Error|error|Exception|Caused by|panic|failed|cannot|could not|refused|denied|in use)\b|Exception:/;

const MAX_LENGTH = 300;

/** The last line of a log that says what went wrong, else the last line with any content. */
export function lastMeaningfulLine(log: string): string | undefined {
  const lines = log.split('\n').map((line) => line.trimEnd());
  const candidates = lines.filter((line) => !noise.some((pattern) => pattern.test(line)));
  const line =
    candidates.findLast((candidate) => says.test(candidate)) ??
    candidates.at(-1) ??
    lines.findLast((text) => text !== '');
  if (line === undefined) {
    return undefined;
  }
  const trimmed = line.trim();
  return trimmed.length > MAX_LENGTH ? `${trimmed.slice(0, MAX_LENGTH)}…` : trimmed;
}
