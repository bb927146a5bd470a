import type { CellLine } from './cell.ts';
import type { GridColumn, GridRow } from './grid.ts';

export type ViewName =
  | 'overview'
  | 'group'
  | 'topics'
  | 'topic'
  | 'brokers'
  | 'broker'
  | 'latency'
  | 'roles'
  | 'charts';

/** What one view shows; whoever makes it has made its text safe for a terminal. */
export interface Page {
  /** What is opened: `kpipe-events`. */
  readonly path: string | null;
  readonly freshness: Freshness;
  /** Above the table, and below it. */
  readonly intro: readonly CellLine[];
  readonly lines: readonly CellLine[];
  readonly table: PageTable | null;
  readonly charts: readonly PageChart[];
  /** What ↑↓ go through where there is no table. */
  readonly choices: readonly string[];
  /** Worst first. */
  readonly problems: readonly PageProblem[];
}

export interface Freshness {
  /** `14:02:11Z`; null until the first look. */
  readonly observedAt: string | null;
  /** Why what is shown is old, and how old: `STALE 14s: no Kafka broker answered`; null: it is not. */
  readonly stale: string | null;
  /** What the last look took: `12 requests 34ms`. */
  readonly cost: string | null;
}

export interface PageTable {
  readonly columns: readonly GridColumn[];
  readonly rows: readonly PageRow[];
  /** What `s` goes through; the first is the order of `rows`. */
  readonly sorts: readonly string[];
  /** The title of the sparklines; null: there are none. */
  readonly trend: string | null;
  /** Whether enter opens a row. */
  readonly opens: boolean;
  /** Instead of rows where there are none. */
  readonly empty: string;
}

export interface PageRow extends GridRow {
  /** By the sorts after the first: the higher, the further up. */
  readonly ranks: readonly number[];
  /** Oldest first; null where it was not known. */
  readonly trend: readonly (number | null)[];
}

export interface PageChart {
  readonly title: CellLine;
  readonly points: readonly (number | null)[];
  /** How long ago the points were, ms. */
  readonly agesMs: readonly number[];
  readonly format: (value: number) => string;
  readonly formatAge: (ms: number) => string;
}

export interface PageProblem {
  readonly level: 'fail' | 'warn' | 'notice';
  readonly text: string;
  /** What it leads to. */
  readonly means: string | null;
  /** What to do. */
  readonly next: string | null;
}

/** What all views have in common. */
export interface LagScreenModel {
  readonly title: string;
  readonly paused: boolean;
  readonly interval: string;
  /** Brokers, standbys, backups, in one line. */
  readonly header: CellLine;
}

export interface PacedControls {
  readonly togglePause: () => void;
  readonly changeInterval: (direction: 1 | -1) => void;
}

export interface LagScreenFeed extends PacedControls {
  readonly current: () => LagScreenModel;
  readonly subscribe: (listener: () => void) => () => void;
  readonly page: (view: ViewName, of: string | null) => Page;
  /** Tells which view is open. */
  readonly open: (view: ViewName) => void;
  /** Sends probes: through role events, or (null) through a topic of their own. */
  readonly probe: (role: 'events' | null) => void;
}
