import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { ok } from '../../cli/output/text.ts';
import { storeContext } from '../../cli/stored-context.ts';
import { loadConfig } from '../../lib/config/load.ts';
import { nearestName } from '../../lib/config/nearest.ts';
import { KpipeError } from '../../lib/errors.ts';

export interface ContextUseResult {
  readonly file: string;
  /** null: the file without an overlay. */
  readonly context: string | null;
  readonly protected: boolean;
}

export default class ContextUse extends KpipeCommand {
  static override summary = 'choose the context that commands use from now on';
  static override description =
    'the choice is kept for this kpipe.yaml, outside of it. --context and KPIPE_CONTEXT win over it';
  static override examples = ['<%= config.bin %> <%= command.id %> prod', '<%= config.bin %> <%= command.id %> --none'];
  static override args = { name: Args.string({ description: 'a name under contexts: in kpipe.yaml' }) };
  static override flags = { none: Flags.boolean({ description: 'use the file without an overlay again' }) };

  async run(): Promise<ContextUseResult> {
    const { args, flags } = await this.parse(ContextUse);
    if ((args.name === undefined) === !flags.none) {
      throw new KpipeError('KPIPE_USAGE', 'name one context, or give --none', {
        next: '`kpipe context list` shows the names',
      });
    }
    // Without an overlay: the one that was kept may be gone from the file.
    const config = loadConfig({ ...this.configLocation(flags), context: undefined });
    const chosen = args.name === undefined ? undefined : config.contexts[args.name];
    if (args.name !== undefined && chosen === undefined) {
      throw unknown(args.name, Object.keys(config.contexts), config.file);
    }
    storeContext(config.file, args.name ?? null, process.env);
    const result = { file: config.file, context: args.name ?? null, protected: chosen?.protected ?? false };
    return this.show(flags, result, ({ context, file }, view) =>
      view.line(context === null ? `${file} is used without a context` : [ok(context), ` is the context of ${file}`]),
    );
  }
}

function unknown(name: string, names: readonly string[], file: string): KpipeError {
  const nearest = nearestName(name, names);
  return new KpipeError(
    'KPIPE_CONTEXT_UNKNOWN',
    `${file} has no context ${name}${nearest === undefined ? '' : `: did you mean ${nearest}?`}`,
    {
      next: names.length === 0 ? 'it declares none: add contexts: to it' : `it has: ${names.join(', ')}`,
    },
  );
}
