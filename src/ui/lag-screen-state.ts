/** What the lag screen's keys change. Pure; several keys can arrive at once, so each starts from the state before it. */
export const sorts = ['declared', 'lag', 'time', 'status'] as const;
export type Sort = (typeof sorts)[number];

export interface ScreenState {
  readonly sort: Sort;
  /** The key of the selected row; null: the first. */
  readonly selected: string | null;
  /** The group whose partitions are shown. */
  readonly opened: string | null;
  /** Which of its partitions is selected. */
  readonly at: number;
  readonly help: boolean;
}

export const firstState: ScreenState = { sort: 'declared', selected: null, opened: null, at: 0, help: false };

export type ScreenAction =
  /** `keys`: the rows as they are sorted now; `partitions`: how many the opened group has. */
  | { readonly kind: 'move'; readonly step: 1 | -1; readonly keys: readonly string[]; readonly partitions: number }
  | { readonly kind: 'open'; readonly keys: readonly string[] }
  | { readonly kind: 'back' }
  | { readonly kind: 'sort' }
  | { readonly kind: 'help' };

export function nextState(state: ScreenState, action: ScreenAction): ScreenState {
  switch (action.kind) {
    case 'move':
      return state.opened === null
        ? {
            ...state,
            selected: action.keys[clamp(indexOf(state, action.keys) + action.step, action.keys.length)] ?? null,
          }
        : { ...state, at: clamp(state.at + action.step, action.partitions) };
    case 'open':
      return { ...state, opened: action.keys[indexOf(state, action.keys)] ?? null, at: 0, help: false };
    case 'back':
      return { ...state, opened: state.help ? state.opened : null, help: false };
    case 'sort':
      return { ...state, sort: sorts[(sorts.indexOf(state.sort) + 1) % sorts.length] ?? 'declared' };
    case 'help':
      return { ...state, help: !state.help };
  }
}

/** Where the selected row is; the first when it is gone. */
export function indexOf(state: ScreenState, keys: readonly string[]): number {
  return Math.max(0, state.selected === null ? 0 : keys.indexOf(state.selected));
}

export function clamp(index: number, length: number): number {
  return Math.max(0, Math.min(index, length - 1));
}
