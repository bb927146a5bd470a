import type { LogLine, LogSearchResult } from '../../lib/postgres/log-search.ts';
import type { View } from '../base-command.ts';
import { accent, bad, dim, warn, type Line, type Span } from '../output/text.ts';

/** A stack trace longer than this is cut on the screen; the JSON has it whole. */
const maxBodyLines = 20;

/** `kpipe logs search`: one entry a line, newest first; further lines of a body are marked, so that none can be forged. */
export function logSearchView({ lines }: LogSearchResult, view: View): string {
  const width = Math.max(0, ...lines.map(({ service }) => Math.min(24, (service ?? '–').length)));
  return lines
    .flatMap((line) => entryLines(line, width))
    .map(view.line)
    .join('\n');
}

function entryLines(line: LogLine, serviceWidth: number): readonly Line[] {
  const [first = '', ...rest] = line.body.split(/\r?\n/);
  const shown = rest.slice(0, maxBodyLines);
  const trace = line.traceId === null ? [] : [dim(`  trace ${line.traceId}`)];
  return [
    [
      dim(shortTime(line.ts)),
      '  ',
      severityCell(line),
      '  ',
      accent((line.service ?? '–').padEnd(serviceWidth)),
      '  ',
      first,
      ...trace,
    ],
    ...shown.map((text): Line => [dim('    │ '), text]),
    ...(rest.length > shown.length ? [dim(`    │ … ${rest.length - shown.length} more lines`)] : []),
  ];
}

/** Milliseconds are enough for people. */
function shortTime(ts: string): string {
  return ts.replace(/(\.\d{3})\d*Z$/, '$1Z');
}

const severityWidth = 5;

function severityCell({ severity, severityNumber }: LogLine): Span {
  const text = (severity ?? '–').toUpperCase().slice(0, severityWidth).padEnd(severityWidth);
  if (severityNumber >= 17) {
    return bad(text);
  }
  return severityNumber >= 13 ? warn(text) : dim(text);
}
