import type { PageRow, PageTable, ViewName } from './lag-screen-model.ts';

/** What the dashboard's keys change. Pure; several keys can arrive at once, so each starts from the state before it. */
export interface ScreenState {
  readonly view: ViewName;
  /** The group, topic or broker that is opened, or whose charts are shown. */
  readonly of: string | null;
  /** Where esc goes back to. */
  readonly from: ViewName;
  /** Each view keeps its own selection, order and filter. */
  readonly views: Readonly<Partial<Record<ViewName, ViewState>>>;
  /** The filter is being typed. */
  readonly typing: boolean;
  readonly help: boolean;
  /** The first line of help that is shown. */
  readonly top: number;
}

export interface ViewState {
  /** The key of the selected row; null: the first. */
  readonly selected: string | null;
  /** Which of the table's sorts. */
  readonly sort: number;
  readonly filter: string;
}

const firstViewState: ViewState = { selected: null, sort: 0, filter: '' };

export const firstState: ScreenState = {
  view: 'overview',
  of: null,
  from: 'overview',
  views: {},
  typing: false,
  help: false,
  top: 0,
};

export type ScreenAction =
  /** `keys`: what the selection goes through, as it is shown now. */
  | { readonly kind: 'move'; readonly by: number; readonly keys: readonly string[] }
  | { readonly kind: 'open'; readonly keys: readonly string[] }
  | { readonly kind: 'view'; readonly view: ViewName }
  | { readonly kind: 'sort'; readonly sorts: number }
  | { readonly kind: 'type'; readonly text: string }
  | { readonly kind: 'back' | 'help' | 'filter' | 'erase' | 'accept' };

/** What enter opens. */
const inside: Readonly<Partial<Record<ViewName, ViewName>>> = {
  overview: 'group',
  roles: 'group',
  topics: 'topic',
  brokers: 'broker',
};

export function nextState(state: ScreenState, action: ScreenAction): ScreenState {
  switch (action.kind) {
    case 'move':
      return moved(state, action.by, action.keys);
    case 'open': {
      const view = inside[state.view];
      const of = action.keys[indexOf(state, action.keys)];
      return view === undefined || of === undefined || state.help
        ? state
        : { ...state, view, of, from: state.view, views: { ...state.views, [view]: firstViewState } };
    }
    case 'view':
      return { ...state, view: action.view, of: charted(state, action.view), from: 'overview', help: false, top: 0 };
    case 'sort':
      return withView(state, { sort: (viewState(state).sort + 1) % Math.max(1, action.sorts) });
    case 'help':
      return { ...state, help: !state.help, top: 0 };
    case 'filter':
      return { ...state, typing: true, help: false };
    case 'type':
      return withView(state, { filter: viewState(state).filter + action.text });
    case 'erase':
      return withView(state, { filter: viewState(state).filter.slice(0, -1) });
    case 'accept':
      return { ...state, typing: false };
    case 'back':
      return back(state);
  }
}

/** Esc takes away the last thing first: help, the filter, what is opened, the view. */
function back(state: ScreenState): ScreenState {
  if (state.help) {
    return { ...state, help: false };
  }
  if (state.typing || viewState(state).filter !== '') {
    return withView({ ...state, typing: false }, { filter: '' });
  }
  return { ...state, view: state.from, of: null, from: 'overview' };
}

function moved(state: ScreenState, by: number, keys: readonly string[]): ScreenState {
  if (state.help) {
    return { ...state, top: Math.max(0, state.top + by) };
  }
  const next = keys[clamp(indexOf(state, keys) + by, keys.length)] ?? null;
  return state.view === 'charts' ? { ...state, of: next } : withView(state, { selected: next });
}

/** Charts show the group that was selected. */
function charted(state: ScreenState, view: ViewName): string | null {
  if (view !== 'charts') {
    return null;
  }
  switch (state.view) {
    case 'group':
    case 'charts':
      return state.of;
    case 'roles':
      return viewState(state).selected;
    default:
      return state.views.overview?.selected ?? null;
  }
}

/** What the page is about: what is opened, or, in the overview, what is selected. */
export function chosen(state: ScreenState): string | null {
  return state.view === 'overview' ? viewState(state).selected : state.of;
}

export function viewState(state: ScreenState): ViewState {
  return state.views[state.view] ?? firstViewState;
}

function withView(state: ScreenState, part: Partial<ViewState>): ScreenState {
  return { ...state, views: { ...state.views, [state.view]: { ...viewState(state), ...part } } };
}

/** Where the selected row is; the first when it is gone. */
export function indexOf(state: ScreenState, keys: readonly string[]): number {
  const selected = state.view === 'charts' ? state.of : viewState(state).selected;
  return Math.max(0, selected === null ? 0 : keys.indexOf(selected));
}

function clamp(index: number, length: number): number {
  return Math.max(0, Math.min(index, length - 1));
}

/** The rows that the filter leaves, in the order of the sort. */
export function shownRows({ rows }: Pick<PageTable, 'rows'>, { sort, filter }: ViewState): readonly PageRow[] {
  const wanted = filter.toLowerCase();
  const left =
    wanted === ''
      ? rows
      : rows.filter(({ key, cells }) =>
          [key, ...cells.map(({ text }) => text)].some((text) => text.toLowerCase().includes(wanted)),
        );
  return sort === 0
    ? left
    : left.toSorted((first, second) => (second.ranks[sort - 1] ?? 0) - (first.ranks[sort - 1] ?? 0));
}
