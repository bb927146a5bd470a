import type { ExitCode } from '../../lib/errors.ts';
import { isDebugging } from '../debug.ts';
import { renderDocument } from './document.ts';
import { asKpipeError, errorDocument, errorLines } from './errors.ts';
import { paletteFor } from './text.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Every failure ends here: a coded text on stderr, and the error document on stdout under --json. Returns the exit code. */
export function printFailure(thrown: unknown, argv: readonly string[], env: Environment): ExitCode {
  const error = asKpipeError(thrown);
  if (wantsDocument(argv, env)) {
    process.stdout.write(`${renderDocument(errorDocument(error), 'json')}\n`);
  }
  const palette = paletteFor('stderr', env);
  for (const line of errorLines(error)) {
    process.stderr.write(`${palette.paint(line)}\n`);
  }
  if (isDebugging(env)) {
    process.stderr.write(`${thrown instanceof Error ? (thrown.stack ?? '') : ''}\n`);
    if (error.cause instanceof Error) {
      process.stderr.write(`caused by: ${error.cause.stack ?? error.cause.message}\n`);
    }
  }
  return error.exitCode;
}

/** For failures before the flags were parsed. */
function wantsDocument(argv: readonly string[], env: Environment): boolean {
  const text = argv.join(' ');
  return (
    /(^|\s)(--json|-o[= ]?json|--output[= ]json)(\s|$)/.test(text) ||
    env['KPIPE_JSON'] === 'true' ||
    env['KPIPE_OUTPUT'] === 'json'
  );
}
