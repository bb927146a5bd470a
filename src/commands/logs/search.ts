import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { dim } from '../../cli/output/text.ts';
import { logSearchView } from '../../cli/views/logs.ts';
import { KpipeError } from '../../lib/errors.ts';
import { searchLogs, type LogSearchResult } from '../../lib/postgres/log-search.ts';
import { severityFromName } from '../../lib/records/severity.ts';

export type LogsSearchResult = LogSearchResult;

const severities = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
const defaultSinceMs = 24 * 3_600_000;

export default class LogsSearch extends KpipeCommand {
  static override summary = 'find stored log lines by full text, newest first';
  static override examples = [
    "<%= config.bin %> <%= command.id %> 'payment declined' --service checkout --since 2h",
    `<%= config.bin %> <%= command.id %> '"connection reset" -retry' --severity warn --limit 20`,
    '<%= config.bin %> <%= command.id %> --trace 4bf92f3577b34da6a3ce929d0e0e4736 --json',
  ];
  static override args = {
    query: Args.string({ description: 'words, "a phrase", or, -without (default: every line)' }),
  };
  static override flags = {
    service: Flags.string({ char: 's', helpValue: 'SERVICE', description: 'lines of this service only' }),
    since: durationFlag('since')({ description: 'how far back (default: 24h)' }),
    severity: Flags.string({ options: severities, description: 'this severity and above' }),
    trace: Flags.string({ helpValue: 'ID', description: 'lines of this trace only' }),
    limit: Flags.integer({ char: 'n', min: 1, max: 100_000, default: 100, description: 'at most this many lines' }),
  };

  async run(): Promise<LogsSearchResult> {
    const { args, flags } = await this.parse(LogsSearch);
    const config = this.configuration(flags);
    if (config.postgres === undefined) {
      throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} has no postgres section`, {
        next: 'logs are searched in PostgreSQL: add postgres.primary',
      });
    }
    const query = {
      text: args.query?.trim() ?? '',
      sinceMs: Date.now() - (flags.since ?? defaultSinceMs),
      service: flags.service,
      minSeverity: flags.severity === undefined ? undefined : severityFromName(flags.severity).number,
      traceId: flags.trace,
      limit: flags.limit,
    };
    const result = await searchLogs(config.postgres, query, this.interruption());
    if (result.lines.length === 0) {
      this.say(result.note ?? `no line since ${result.since} matches`);
    } else if (result.more) {
      this.say(`only the newest ${result.lines.length} lines: there are more, raise --limit or narrow --since`);
    }
    if (config.postgres.replicas.length > 0) {
      this.say(dim(`answered by ${result.server}${result.serverNote === null ? '' : ` (${result.serverNote})`}`));
    }
    return this.show(flags, result, logSearchView);
  }
}
