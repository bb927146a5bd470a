import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { inspect } from 'node:util';

import { KpipeError, messageOf } from '../errors.ts';

/**
 * Secret references in kpipe.yaml: `${env:NAME}`, `${file:/path}` (relative to the file that names it), and
 * `${exec:command args}` (an argument vector, no shell). They are resolved when the value is needed, so that a missing
 * backup key does not stop `kpipe lag`.
 */
const reference = /\$\{(env|file|exec):([^}]*)\}/g;

export interface ReferenceScope {
  /** The directory that relative paths start from: the configuration file's. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Replaces every reference in the text. @throws KPIPE_SECRET_UNAVAILABLE naming the reference, never its value */
export function resolveReferences(text: string, scope: ReferenceScope): string {
  return text.replaceAll(reference, (whole, kind: string, argument: string) => {
    switch (kind) {
      case 'env':
        return scope.env[argument] ?? unavailable(whole, `environment variable ${argument} is not set`);
      case 'file':
        return readSecretFile(whole, resolve(scope.directory, argument));
      default:
        return runSecretCommand(whole, argument, scope);
    }
  });
}

/** Whether a value is given by reference alone, so that the file itself holds no secret. */
export function isReference(text: string): boolean {
  return text.replaceAll(reference, '') === '' && text !== '';
}

function readSecretFile(whole: string, path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    return unavailable(whole, messageOf(error));
  }
}

function runSecretCommand(whole: string, argument: string, scope: ReferenceScope): string {
  const [command, ...args] = argument.trim().split(/\s+/);
  try {
    return execFileSync(command ?? '', args, {
      cwd: scope.directory,
      encoding: 'utf8',
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'inherit'],
    }).replace(/\r?\n$/, '');
  } catch {
    // The cause would quote the command's output.
    return unavailable(whole, 'the command failed or took longer than 10 s');
  }
}

function unavailable(whole: string, reason: string): never {
  throw new KpipeError('KPIPE_SECRET_UNAVAILABLE', `${whole} in the configuration cannot be resolved: ${reason}`, {
    next: 'set it, or change the reference in kpipe.yaml',
  });
}

/** A value that is resolved on demand and that no log, error or JSON document can show. */
export class Secret {
  readonly #text: string;
  readonly #scope: ReferenceScope;

  constructor(text: string, scope: ReferenceScope) {
    this.#text = text;
    this.#scope = scope;
  }

  /** How the file names it (`${env:NAME}`); null where it holds the secret itself. */
  get reference(): string | null {
    return isReference(this.#text) ? this.#text : null;
  }

  reveal(): string {
    return resolveReferences(this.#text, this.#scope);
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
