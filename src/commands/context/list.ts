import { KpipeCommand } from '../../cli/base-command.ts';
import { ok } from '../../cli/output/text.ts';

export interface ContextListResult {
  readonly file: string;
  readonly contexts: readonly { readonly name: string; readonly current: boolean; readonly protected: boolean }[];
}

export default class ContextList extends KpipeCommand {
  static override summary = 'list the contexts that kpipe.yaml declares';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<ContextListResult> {
    const { flags } = await this.parse(ContextList);
    const config = this.configuration(flags);
    const contexts = Object.entries(config.contexts).map(([name, overlay]) => ({
      name,
      current: name === config.context,
      protected: overlay.protected ?? false,
    }));
    return this.show(flags, { file: config.file, contexts }, (result, view) =>
      result.contexts.length === 0
        ? view.line(`${result.file} declares no contexts`)
        : view.table(
            [{ title: 'CONTEXT' }, { title: 'PROTECTED' }, { title: 'CURRENT' }],
            result.contexts.map((context) => [
              context.name,
              context.protected ? 'yes' : 'no',
              context.current ? ok('current') : '',
            ]),
          ),
    );
  }
}
