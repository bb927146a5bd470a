import type { Cell } from './cell.ts';
import type { GridColumn, GridRow } from './grid.ts';
import type { PacedControls } from './lag-screen-model.ts';

/** A standby on the screen. */
export interface ReplicaScreenRow extends GridRow {
  /** Bytes behind over time, oldest first; null where it was not known. */
  readonly trend: readonly (number | null)[];
  /** Everything that is known of it, a line each; shown when the row is opened. */
  readonly details: readonly Cell[];
}

export interface ReplicaScreenModel {
  readonly title: string;
  /** null until the first look. */
  readonly observedAt: string | null;
  /** Why the last look failed: what is shown is older. */
  readonly failure: string | null;
  readonly paused: boolean;
  readonly interval: string;
  readonly primary: Cell | null;
  readonly columns: readonly GridColumn[];
  readonly rows: readonly ReplicaScreenRow[];
  /** Problems with what to do, worst first. */
  readonly problems: readonly Cell[];
}

export interface ReplicaScreenFeed extends PacedControls {
  readonly current: () => ReplicaScreenModel;
  readonly subscribe: (listener: () => void) => () => void;
}
