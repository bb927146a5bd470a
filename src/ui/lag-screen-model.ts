import type { Cell, GridColumn, GridRow } from './grid.tsx';

/** A consumer group on the screen. */
export interface LagScreenRow extends GridRow {
  /** Lag over time, oldest first; null where it was not known. */
  readonly trend: readonly (number | null)[];
  /** What sorting goes by: the higher, the worse. */
  readonly lag: number;
  readonly time: number;
  readonly severity: number;
  readonly partitions: readonly GridRow[];
}

export interface LagScreenModel {
  readonly title: string;
  /** null until the first look. */
  readonly observedAt: string | null;
  /** Why the last look failed: what is shown is older. */
  readonly failure: string | null;
  readonly paused: boolean;
  readonly interval: string;
  readonly columns: readonly GridColumn[];
  readonly partitionColumns: readonly GridColumn[];
  readonly rows: readonly LagScreenRow[];
  /** What is wrong, worst first. */
  readonly notes: readonly Cell[];
}

export interface LagScreenFeed {
  readonly current: () => LagScreenModel;
  readonly subscribe: (listener: () => void) => () => void;
  readonly togglePause: () => void;
  readonly changeInterval: (direction: 1 | -1) => void;
}
