import { KpipeError, messageOf, type ExitCode } from '../../lib/errors.ts';
import { bad, dim, type Line } from './text.ts';
import { usageError } from './usage.ts';

/** What a script gets under --json when a command fails. */
export interface ErrorDocument {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly where: Readonly<Record<string, unknown>>;
    readonly next: string | null;
    readonly exitCode: ExitCode;
  };
}

/** Anything thrown, as an error with a code. What kpipe did not foresee is KPIPE_INTERNAL. */
export function asKpipeError(error: unknown): KpipeError {
  if (error instanceof KpipeError) {
    return withoutParserFrame(error);
  }
  if (isUsageError(error)) {
    return usageError(error);
  }
  return new KpipeError('KPIPE_INTERNAL', messageOf(error), {
    next: 'this is a bug in kpipe: run again with DEBUG=kpipe:* and report the stack',
    cause: error,
  });
}

/** oclif writes its own words around the message of what a flag's parser throws. */
function withoutParserFrame(error: KpipeError): KpipeError {
  const own = /^Parsing \S+ \n\t([\s\S]*?)\nSee more help/.exec(error.message)?.[1];
  if (own === undefined) {
    return error;
  }
  const { next, where, cause } = error;
  return new KpipeError(error.code, own, { where, cause, ...(next === undefined ? {} : { next }) });
}

/** oclif's parse errors carry exit code 2 in `oclif.exit`. */
function isUsageError(error: unknown): error is Error {
  if (!(error instanceof Error) || !('oclif' in error)) {
    return false;
  }
  const { oclif } = error;
  return typeof oclif === 'object' && oclif !== null && 'exit' in oclif && oclif.exit === 2;
}

export function errorDocument(error: KpipeError): ErrorDocument {
  return {
    error: {
      code: error.code,
      message: error.message,
      where: error.where,
      next: error.next ?? null,
      exitCode: error.exitCode,
    },
  };
}

export function errorLines(error: KpipeError): readonly Line[] {
  const where = Object.entries(error.where)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
  const [first = '', ...rest] = error.message.split('\n');
  return [
    [bad(error.code), ' ', first],
    ...rest,
    ...(where === '' ? [] : [[dim('  where: '), where]]),
    ...(error.next === undefined ? [] : [[dim('  next:  '), error.next]]),
  ];
}
