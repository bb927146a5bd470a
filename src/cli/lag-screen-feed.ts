import { formatDuration } from '../lib/config/units.ts';
import type { Look, Pace } from '../lib/offsets/follow.ts';
import type { GroupLag, LagReport } from '../lib/offsets/lag-report.ts';
import { lagStatuses } from '../lib/offsets/status.ts';
import { escapeControls } from './output/escape.ts';
import type { Span } from './output/text.ts';
import { PacedFeed } from './paced-feed.ts';
import { groupCells, lagColumns, partitionCells, partitionColumns, reasonLine, type LagColumn } from './views/lag.ts';

/** What the lag screen draws: data made safe for a terminal. */
interface ScreenModel {
  readonly title: string;
  readonly observedAt: string | null;
  readonly failure: string | null;
  readonly paused: boolean;
  readonly interval: string;
  readonly columns: readonly LagColumn[];
  readonly partitionColumns: readonly LagColumn[];
  readonly rows: readonly ScreenRow[];
  readonly notes: readonly Span[];
}

interface ScreenRow {
  readonly key: string;
  readonly cells: readonly Span[];
  readonly trend: readonly (number | null)[];
  readonly lag: number;
  readonly time: number;
  readonly severity: number;
  readonly partitions: readonly { readonly key: string; readonly cells: readonly Span[] }[];
}

export interface LagScreenFeedOptions {
  readonly title: string;
  readonly pace: Pace;
  readonly lossAlarmMs: number;
}

const trendLength = 60;

/** Turns looks into what the screen draws, and the screen's keys into another pace. */
export class LagScreenFeed extends PacedFeed<ScreenModel> {
  readonly #options: LagScreenFeedOptions;
  #trends: ReadonlyMap<string, readonly (number | null)[]> = new Map();

  constructor(options: LagScreenFeedOptions) {
    super(options.pace, {
      title: escapeControls(options.title),
      observedAt: null,
      failure: null,
      paused: false,
      interval: formatDuration(options.pace.intervalMs),
      columns: lagColumns,
      partitionColumns,
      rows: [],
      notes: [],
    });
    this.#options = options;
  }

  /** A look that failed leaves the last one on the screen, marked as stale. */
  show(look: Look): void {
    this.update(look.kind === 'failed' ? { failure: escapeControls(look.error.message) } : this.#draw(look.report));
  }

  #draw(report: LagReport): Partial<ScreenModel> {
    this.#trends = new Map(
      report.roles.map((group) => {
        const lag = group.lagRecords;
        return [group.group, [...(this.#trends.get(group.group) ?? []), lag].slice(-trendLength)];
      }),
    );
    return {
      observedAt: report.observedAt.replace(/^.*T([\d:]+).*$/, '$1Z'),
      failure: null,
      rows: report.roles.map((group) => this.#row(group)),
      notes: notesOf(report),
    };
  }

  #row(group: GroupLag): ScreenRow {
    const { lossAlarmMs } = this.#options;
    return {
      key: escapeControls(group.group),
      cells: groupCells(group, lossAlarmMs).map(safe),
      trend: this.#trends.get(group.group) ?? [],
      lag: group.lagRecords ?? -1,
      time: group.timeLagMs ?? -1,
      severity: lagStatuses.indexOf(group.status),
      partitions: group.partitions.map((partition) => ({
        key: `${partition.topic}-${partition.partition}`,
        cells: partitionCells(partition, lossAlarmMs).map(safe),
      })),
    };
  }
}

function safe(span: Span): Span {
  return { tone: span.tone, text: escapeControls(span.text) };
}

/** What is wrong with groups, worst first, then what could not be seen. */
function notesOf(report: LagReport): readonly Span[] {
  const wrong = report.roles
    .filter(({ reason }) => reason !== null)
    .toSorted((left, right) => lagStatuses.indexOf(right.status) - lagStatuses.indexOf(left.status))
    .map((group): Span => ({
      tone: group.status === 'unknown' || group.status === 'ok' ? 'dim' : 'bad',
      text: textOf(reasonLine(group)),
    }));
  return [...wrong, ...report.notes.map((note): Span => ({ tone: 'warn', text: `! ${note}` }))].map(safe);
}

function textOf(line: readonly (string | Span)[]): string {
  return line.map((part) => (typeof part === 'string' ? part : part.text)).join('');
}
