import { KpipeCommand } from '../../cli/base-command.ts';
import { bad, dim, strong } from '../../cli/output/text.ts';

export interface ContextShowResult {
  readonly file: string;
  readonly pipeline: string;
  /** null: the file without an overlay. */
  readonly context: string | null;
  /** What chose it; null where nothing did. */
  readonly chosenBy: 'flag' | 'environment' | 'context use' | null;
  readonly protected: boolean;
  readonly brokers: readonly string[];
  /** The settings that the context lays over the file, without their values. */
  readonly overlays: readonly string[];
}

export default class ContextShow extends KpipeCommand {
  static override summary = 'show the context in effect, what chose it and what it changes';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --context prod --json',
  ];

  async run(): Promise<ContextShowResult> {
    const { flags } = await this.parse(ContextShow);
    const config = this.configuration(flags);
    const { context } = config;
    const result: ContextShowResult = {
      file: config.file,
      pipeline: config.pipeline,
      context,
      chosenBy: context === null ? null : chooser(flags.context),
      protected: config.protected,
      brokers: config.kafka.brokers,
      overlays: context === null ? [] : settingsIn(config.contexts[context], []),
    };
    return this.show(flags, result, (shown, view) =>
      [
        view.line([
          strong(shown.context ?? 'no context'),
          shown.chosenBy === null ? '' : dim(`   by ${shown.chosenBy}`),
          shown.protected ? bad('   protected') : '',
        ]),
        view.line(`file      ${shown.file}`),
        view.line(`pipeline  ${shown.pipeline}`),
        view.line(`brokers   ${shown.brokers.join(', ')}`),
        ...(shown.context === null ? [] : [view.line(`changes   ${shown.overlays.join(', ') || 'nothing'}`)]),
      ].join('\n'),
    );
  }
}

function chooser(flag: string | undefined): 'flag' | 'environment' | 'context use' {
  if (flag === undefined) {
    return 'context use';
  }
  return process.argv.some((argument) => argument.startsWith('--context')) ? 'flag' : 'environment';
}

/** `kafka.brokers` and the like: the paths of all values inside. */
function settingsIn(value: unknown, path: readonly string[]): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [path.join('.')];
  }
  return Object.entries(value).flatMap(([key, inner]) => settingsIn(inner, [...path, key]));
}
