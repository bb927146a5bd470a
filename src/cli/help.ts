import { Errors, Help, type Command, type Interfaces } from '@oclif/core';

import { commandNames, unknownCommand } from './unknown-command.ts';

/** The same on every terminal, so that help can be written down once (dist/help.json) and compared. */
const columns = 80;

/** The root's help in the order in which kpipe is learned. What is in no group comes last. */
const groups: readonly { readonly title: string; readonly names: readonly string[] }[] = [
  { title: 'SET UP', names: ['init', 'doctor', 'context', 'migrate', 'sandbox', 'demo'] },
  { title: 'TOPICS AND RECORDS', names: ['topics', 'produce', 'tail'] },
  { title: 'ROLES', names: ['consume', 'groups', 'replay', 'dlq', 'verify'] },
  { title: 'OBSERVE', names: ['lag', 'brokers', 'latency', 'check', 'metrics'] },
  { title: 'STORES', names: ['logs', 'replica', 'backup', 'cache', 'sessions', 'ratelimit', 'gateway'] },
];

interface Entry {
  readonly name: string;
  readonly summary: string;
}

/** oclif's help at a fixed width, with the root's commands in groups and unknown ones refused like any wrong usage. */
export default class KpipeHelp extends Help {
  constructor(config: Interfaces.Config, options: Partial<Interfaces.HelpOptions> = {}) {
    super(config, { ...options, maxWidth: columns });
  }

  override async showHelp(argv: string[]): Promise<void> {
    try {
      await super.showHelp(argv);
    } catch (error) {
      const [, typed] =
        error instanceof Errors.CLIError ? (/^Command (.+) not found\.$/.exec(error.message) ?? []) : [];
      throw typed === undefined ? error : unknownCommand(typed.replaceAll(':', ' '), ...commandNames(this.config));
    }
  }

  protected override showRootHelp(): Promise<void> {
    const entries = this.#rootEntries();
    const grouped = new Set(groups.flatMap(({ names }) => names));
    const others = { title: 'OTHER', names: entries.map(({ name }) => name).filter((name) => !grouped.has(name)) };
    // One column of names for all groups.
    const nameWidth = Math.max(...entries.map(({ name }) => name.length));
    const sections = [...groups, others].flatMap(({ title, names }) => {
      const listed = names.flatMap((name) => entries.filter((entry) => entry.name === name));
      return listed.length === 0 ? [] : [this.#entryList(title, listed, nameWidth)];
    });
    const usage = this.section('USAGE', '$ kpipe COMMAND');
    const more = 'kpipe COMMAND --help tells more about one of them';
    this.log([this.config.pjson['description'], usage, ...sections, more].join('\n\n'));
    return Promise.resolve();
  }

  #entryList(title: string, entries: readonly Entry[], nameWidth: number): string {
    const rows = entries.map(({ name, summary }): [string, string] => [name.padEnd(nameWidth), summary]);
    return this.section(title, this.renderList(rows, { indentation: 2, spacer: '\n' }));
  }

  #rootEntries(): readonly Entry[] {
    const topics = this.sortedTopics
      .filter(({ name }) => !name.includes(':'))
      .map(({ name, description }) => ({ name, summary: firstLine(description) }));
    const commands = this.sortedCommands
      .filter(({ id }) => !id.includes(':'))
      .map((command) => ({ name: command.id, summary: firstLine(summaryOf(command)) }));
    // A command with commands below it (`replay`) is a topic, too: listed once, as the command.
    return [...commands, ...topics.filter(({ name }) => !commands.some((command) => command.name === name))];
  }
}

function summaryOf(command: Command.Loadable): string | undefined {
  return command.summary ?? command.description;
}

function firstLine(text: string | undefined): string {
  return text?.split('\n', 1)[0] ?? '';
}
