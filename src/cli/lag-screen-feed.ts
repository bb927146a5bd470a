import { formatDuration } from '../lib/config/units.ts';
import type { Look, Pace } from '../lib/offsets/follow.ts';
import type { GroupLag, LagReport } from '../lib/offsets/lag-report.ts';
import { lagStatuses } from '../lib/offsets/status.ts';
import { escapeControls } from './output/escape.ts';
import type { Span } from './output/text.ts';
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

const intervalsMs = [500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
const trendLength = 60;

/** Turns looks into what the screen draws, and the screen's keys into another pace. */
export class LagScreenFeed {
  readonly #options: LagScreenFeedOptions;
  readonly #listeners = new Set<() => void>();
  #trends: ReadonlyMap<string, readonly (number | null)[]> = new Map();
  #model: ScreenModel;

  constructor(options: LagScreenFeedOptions) {
    this.#options = options;
    this.#model = {
      title: escapeControls(options.title),
      observedAt: null,
      failure: null,
      paused: false,
      interval: formatDuration(options.pace.intervalMs),
      columns: lagColumns,
      partitionColumns,
      rows: [],
      notes: [],
    };
  }

  /** A look that failed leaves the last one on the screen, marked as stale. */
  show(look: Look): void {
    this.#update(look.kind === 'failed' ? { failure: escapeControls(look.error.message) } : this.#draw(look.report));
  }

  readonly current = (): ScreenModel => this.#model;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly togglePause = (): void => {
    const { pace } = this.#options;
    pace.change({ paused: !pace.paused });
    this.#update({ paused: pace.paused });
  };

  readonly changeInterval = (direction: 1 | -1): void => {
    const { pace } = this.#options;
    const next =
      direction === 1
        ? intervalsMs.find((ms) => ms > pace.intervalMs)
        : intervalsMs.findLast((ms) => ms < pace.intervalMs);
    pace.change({ intervalMs: next ?? pace.intervalMs });
    this.#update({ interval: formatDuration(pace.intervalMs) });
  };

  #update(part: Partial<ScreenModel>): void {
    this.#model = { ...this.#model, ...part };
    for (const listener of this.#listeners) {
      listener();
    }
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
