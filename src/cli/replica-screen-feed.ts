import { formatDuration } from '../lib/config/units.ts';
import type { Look, Pace } from '../lib/offsets/follow.ts';
import type { ReplicaProblem, ReplicaReport, StandbyReport } from '../lib/replication/report.ts';
import type { ReplicaScreenModel, ReplicaScreenRow } from '../ui/replica-screen-model.ts';
import { escapeControls } from './output/escape.ts';
import type { Line, Span } from './output/text.ts';
import { PacedFeed } from './paced-feed.ts';
import { primaryLine, problemLines, standbyCells, standbyColumns } from './views/replica.ts';

const trendLength = 60;

/** Turns looks into what the screen draws, and the screen's keys into another pace. */
export class ReplicaScreenFeed extends PacedFeed<ReplicaScreenModel> {
  #trends: ReadonlyMap<string, readonly (number | null)[]> = new Map();

  constructor({ title, pace }: { readonly title: string; readonly pace: Pace }) {
    super(pace, {
      title: escapeControls(title),
      observedAt: null,
      failure: null,
      paused: false,
      interval: formatDuration(pace.intervalMs),
      primary: null,
      columns: standbyColumns,
      rows: [],
      problems: [],
    });
  }

  /** A look that failed leaves the last one on the screen, marked as stale. */
  show(look: Look<ReplicaReport>): void {
    this.update(look.kind === 'failed' ? { failure: escapeControls(look.error.message) } : this.#draw(look.report));
  }

  #draw(report: ReplicaReport): Partial<ReplicaScreenModel> {
    this.#trends = new Map(
      report.standbys.map(({ name, replayBytes }) => [
        name,
        [...(this.#trends.get(name) ?? []), replayBytes].slice(-trendLength),
      ]),
    );
    return {
      observedAt: report.observedAt.replace(/^.*T([\d:]+).*$/, '$1Z'),
      failure: null,
      primary: flat(primaryLine(report.primary), 'plain'),
      rows: report.standbys.map((standby) => this.#row(standby, report)),
      problems: [...report.problems.flatMap(problemSpans), ...report.notes.map((note) => flat(`· ${note}`, 'dim'))],
    };
  }

  #row(standby: StandbyReport, { problems }: ReplicaReport): ReplicaScreenRow {
    return {
      key: escapeControls(standby.name),
      cells: standbyCells(standby).map(({ tone, text }) => ({ tone, text: escapeControls(text) })),
      trend: this.#trends.get(standby.name) ?? [],
      details: [
        ...problems.filter((problem) => problem.standby === standby.name).flatMap(problemSpans),
        ...Object.entries(standby).flatMap(([name, value]) => detailLines(name, value)),
      ],
    };
  }
}

/** What is wrong, and below it what to do. */
function problemSpans(problem: ReplicaProblem): readonly Span[] {
  const [what = '', next = ''] = problemLines(problem);
  return [flat(what, 'bad'), flat(next, 'plain')];
}

function detailLines(name: string, value: unknown): readonly Span[] {
  const shown =
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value)
          .map(([key, inner]) => `${key} ${shownValue(inner)}`)
          .join('  ')
      : shownValue(value);
  return [flat(`${name.padEnd(20)} ${shown}`, value === null ? 'dim' : 'plain')];
}

function shownValue(value: unknown): string {
  if (Array.isArray(value)) {
    return value.length === 0 ? '–' : value.map(shownValue).join(', ');
  }
  return value === null ? '?' : typeof value === 'string' ? value : JSON.stringify(value);
}

function flat(line: Line, tone: Span['tone']): Span {
  const spans = typeof line === 'string' || 'tone' in line ? [line] : line;
  const text = spans.map((span) => (typeof span === 'string' ? span : span.text)).join('');
  return { tone, text: escapeControls(text) };
}
