import { createInterface } from 'node:readline/promises';

import { Command, Flags } from '@oclif/core';

import { loadConfig, type Config, type ConfigLocation } from '../lib/config/load.ts';
import { KpipeError, type ExitCode } from '../lib/errors.ts';
import { renderDocument, type OutputFormat } from './output/document.ts';
import { printFailure } from './output/failure.ts';
import { startProgress, type Progress } from './output/progress.ts';
import { startSteps, type Steps } from './output/steps.ts';
import { paletteFor, type Line, type Palette } from './output/text.ts';
import { renderTable, type Column } from './output/table.ts';
import { storedContext } from './stored-context.ts';

/** What a view may print with: it returns text, the base command writes it. */
export interface View {
  readonly line: (line: Line) => string;
  readonly table: (columns: readonly Column[], rows: readonly (readonly Line[])[]) => string;
}

export interface ShowOptions {
  readonly exitCode?: ExitCode;
}

/**
 * A Ctrl-C under npx, npm run or kpipe's own launcher comes twice at once: from the terminal, which tells the whole process group,
 * and from the parent, which passes it on. Signals closer together than this are one: wide enough for a busy machine.
 */
const sameSignalMs = 500;

/** The flags that every command has, as parsed. */
export interface SharedFlags {
  readonly config?: string | undefined;
  readonly context?: string | undefined;
  readonly output?: string | undefined;
  readonly json: boolean;
}

/**
 * The base of every command: shared flags, configuration, one document on stdout, everything else on stderr, errors to
 * exit codes, two-stage signals. A command parses, calls one function of lib, and shows its result.
 */
export abstract class KpipeCommand extends Command {
  static override baseFlags = {
    config: Flags.string({
      char: 'c',
      env: 'KPIPE_CONFIG',
      helpGroup: 'GLOBAL',
      helpValue: 'FILE',
      description: 'configuration file (default: ./kpipe.yaml, then the XDG config directory)',
    }),
    context: Flags.string({
      env: 'KPIPE_CONTEXT',
      helpGroup: 'GLOBAL',
      helpValue: 'NAME',
      description: 'overlay of the configuration file to use',
    }),
    output: Flags.string({
      char: 'o',
      env: 'KPIPE_OUTPUT',
      helpGroup: 'GLOBAL',
      options: ['table', 'json', 'yaml', 'ndjson'],
      description: 'how the result is printed (default: table)',
    }),
    json: Flags.boolean({
      env: 'KPIPE_JSON',
      helpGroup: 'GLOBAL',
      description: 'print exactly one JSON document on stdout',
    }),
  };

  #interruption: AbortController | undefined;

  /** kpipe.yaml with its context, by `--config` and `--context` or their defaults. */
  protected configuration(flags: SharedFlags): Config {
    return loadConfig(this.configLocation(flags));
  }

  protected configLocation(flags: SharedFlags): ConfigLocation {
    const location = { file: flags.config, cwd: process.cwd(), env: process.env };
    return { ...location, context: flags.context ?? storedContext(location) };
  }

  /** Prints the command's result: a document for scripts, the view for people. Returns it, as `run()` does. */
  protected show<Result>(
    flags: SharedFlags,
    result: Result,
    view: (result: Result, view: View) => string,
    options: ShowOptions = {},
  ): Result {
    const format = formatOf(flags);
    const text =
      format === 'table' ? view(result, viewOn(paletteFor('stdout', process.env))) : renderDocument(result, format);
    if (text !== '') {
      process.stdout.write(`${text}\n`);
    }
    process.exitCode = options.exitCode ?? 0;
    return result;
  }

  /** A line for the person who watches, on stderr. */
  protected say(line: Line): void {
    process.stderr.write(`${paletteFor('stderr', process.env).paint(line)}\n`);
  }

  protected progress(label: string, total?: number): Progress {
    return startProgress({ label, stream: process.stderr, ...(total === undefined ? {} : { total }) });
  }

  /** Steps of long work, each with its result. */
  protected steps(): Steps {
    return startSteps(process.stderr, paletteFor('stderr', process.env));
  }

  /** Aborts at the first SIGINT or SIGTERM (drain, commit, leave); the second ends the process at once. */
  protected interruption(): AbortSignal {
    if (this.#interruption === undefined) {
      const controller = new AbortController();
      let firstAtMs = 0;
      const onSignal = (name: NodeJS.Signals): void => {
        if (!controller.signal.aborted) {
          firstAtMs = performance.now();
          controller.abort(new KpipeError('KPIPE_INTERRUPTED', `stopped by ${name}`));
        } else if (performance.now() - firstAtMs >= sameSignalMs) {
          process.exit(130);
        }
      };
      process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
      this.#interruption = controller;
    }
    return this.#interruption.signal;
  }

  /** Aborts as `interruption()` does, and when nobody reads stdout any more: then there is nothing to watch for. */
  protected whileRead(): AbortSignal {
    const unread = new AbortController();
    process.stdout.once('error', () => unread.abort()).once('close', () => unread.abort());
    return AbortSignal.any([this.interruption(), unread.signal]);
  }

  /**
   * Asks before something destructive: on a TTY by a question (by typing the context's name where it is protected);
   * without one only `--yes` (or `--confirm=CONTEXT`) goes on.
   */
  protected async confirm(question: {
    readonly action: string;
    readonly yes: boolean;
    readonly confirm?: string | undefined;
    readonly config?: Config;
  }): Promise<void> {
    const { action, config } = question;
    const context = config?.protected === true ? (config.context ?? config.pipeline) : undefined;
    if (context === undefined ? question.yes : question.confirm === context) {
      return;
    }
    const flag = context === undefined ? '--yes' : `--confirm=${context}`;
    if (!process.stdin.isTTY || !process.stderr.isTTY) {
      throw new KpipeError(
        'KPIPE_CONFIRMATION_REQUIRED',
        `${action} needs a confirmation and there is no terminal to ask on`,
        {
          next: `add ${flag}`,
        },
      );
    }
    const prompt =
      context === undefined ? `${action}. Go on? [y/N] ` : `${action}. Type the context's name (${context}) to go on: `;
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await terminal
      .question(prompt)
      .catch((error: unknown) => {
        // Ctrl-C or the end of the input instead of an answer: the cursor stands behind the question.
        process.stderr.write('\n');
        throw new KpipeError('KPIPE_INTERRUPTED', `${action}: interrupted, nothing was changed`, { cause: error });
      })
      .finally(() => terminal.close());
    const accepted = context === undefined ? /^y(es)?$/i.test(answer.trim()) : answer.trim() === context;
    if (!accepted) {
      throw new KpipeError('KPIPE_DECLINED', `${action}: declined, nothing was changed`);
    }
  }

  /** Every failure ends here: a coded text on stderr, or the error document under --json, and the code's exit code. */
  protected override catch(thrown: Error): Promise<void> {
    if (isExit(thrown)) {
      throw thrown;
    }
    process.exitCode = printFailure(thrown, this.argv, process.env);
    return Promise.resolve();
  }
}

export function viewOn(palette: Palette): View {
  return { line: palette.paint, table: (columns, rows) => renderTable(columns, rows, palette) };
}

/** The format that the flags ask for; `--json` wins over `--output`. */
export function formatOf(flags: SharedFlags): OutputFormat {
  if (flags.json) {
    return 'json';
  }
  switch (flags.output) {
    case 'json':
    case 'yaml':
    case 'ndjson':
      return flags.output;
    default:
      return 'table';
  }
}

/** `this.exit()` and --help throw an ExitError, which oclif itself handles. */
function isExit(error: Error): boolean {
  return 'code' in error && error.code === 'EEXIT';
}
