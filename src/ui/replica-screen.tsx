import { useWindowSize } from 'ink';
import { useState, useSyncExternalStore, type ReactElement } from 'react';

import type { Cell, CellLine } from './cell.ts';
import { showFullScreen } from './full-screen.tsx';
import { gridLines } from './grid.ts';
import { Frame } from './frame.tsx';
import type { ReplicaScreenFeed, ReplicaScreenModel, ReplicaScreenRow } from './replica-screen-model.ts';
import { sparkline } from './sparkline.ts';
import { Store } from './store.ts';
import { useScreenKeys } from './use-screen-keys.ts';

const otherKeys = 'p pause  +/− interval  ? help  q quit';
const trendWidth = 16;
const helpLines = [
  'BEHIND    WAL that the primary has flushed and the standby has not replayed',
  'TIME      how far behind in time; ≤ an upper bound, ? not known',
  'PROBE     until a write on the primary was replayed (--probe)',
  'ANSWERED  when the standby last answered the primary; every 10s by default',
  'KEEPS     WAL that the primary keeps for it; SAFE: how much more until the slot is lost',
  'STATUS    the cause, the worst first; the lines below say what to do',
  '',
  'esc goes back',
].map((text): Cell => ({ text, tone: 'plain' }));

interface State {
  readonly selected: number;
  readonly opened: string | null;
  /** The first line shown of what is opened. */
  readonly top: number;
  readonly help: boolean;
}

type Action =
  /** `last`: how far it goes. */
  | { readonly kind: 'move' | 'scroll'; readonly step: number; readonly last: number }
  | { readonly kind: 'open'; readonly key: string | null }
  | { readonly kind: 'help' };

const firstState: State = { selected: 0, opened: null, top: 0, help: false };

function nextState(state: State, action: Action): State {
  switch (action.kind) {
    case 'move':
      return { ...state, selected: within(state.selected + action.step, action.last) };
    case 'scroll':
      return { ...state, top: within(state.top + action.step, action.last) };
    case 'open':
      return { ...state, opened: state.help ? state.opened : action.key, top: 0, help: false };
    case 'help':
      return { ...state, top: 0, help: !state.help };
  }
}

function within(index: number, last: number): number {
  return Math.max(0, Math.min(last, index));
}

/** `kpipe replica status --watch`: the standbys, what is wrong with them, and all about one of them. */
export function ReplicaScreen({ feed }: { readonly feed: ReplicaScreenFeed }): ReactElement {
  const model = useSyncExternalStore(feed.subscribe, feed.current);
  const { columns: width, rows: height } = useWindowSize();
  const [store] = useState(() => new Store(nextState, firstState));
  const state = useSyncExternalStore(store.subscribe, store.current);
  const last = Math.max(0, model.rows.length - 1);
  const selected = Math.min(state.selected, last);
  const opened = model.rows.find(({ key }) => key === state.opened);
  const lines = state.help ? helpLines : opened?.details;
  const room = Math.max(1, height - 3);
  const lastTop = Math.max(0, (lines?.length ?? 0) - room);
  useScreenKeys({
    togglePause: feed.togglePause,
    changeInterval: feed.changeInterval,
    move: (step) =>
      store.dispatch(lines === undefined ? { kind: 'move', step, last } : { kind: 'scroll', step, last: lastTop }),
    open: () =>
      store.dispatch({ kind: 'open', key: model.rows[Math.min(store.current().selected, last)]?.key ?? null }),
    back: () => store.dispatch({ kind: 'open', key: null }),
    help: () => store.dispatch({ kind: 'help' }),
    press: () => undefined,
  });

  const body =
    lines === undefined
      ? standbyLines({ model, selected, height, width })
      : lines.slice(Math.min(state.top, lastTop)).map((cell): CellLine => [cell]);
  const keys = `${lines === undefined ? '↑↓ select  enter details' : '↑↓ scroll  esc back'}  ${otherKeys}`;
  return (
    <Frame
      head={[headerLine(model, opened?.key ?? null), ...(model.primary === null ? [] : [[model.primary]])]}
      body={body}
      foot={[[{ tone: 'dim', text: keys }]]}
      width={width}
      height={height}
    />
  );
}

function headerLine(model: ReplicaScreenModel, of: string | null): CellLine {
  const parts = [
    of === null ? model.title : `${model.title} › ${of}`,
    model.observedAt ?? 'looking…',
    `every ${model.interval}`,
    ...(model.paused ? ['PAUSED'] : []),
  ];
  return [
    { tone: 'strong', text: 'kpipe replica status' },
    { tone: 'plain', text: `  ${parts.join('  ')}` },
    { tone: 'bad', text: model.failure === null ? '' : `  STALE: ${model.failure}` },
  ];
}

interface StandbysView {
  readonly model: ReplicaScreenModel;
  readonly selected: number;
  readonly height: number;
  readonly width: number;
}

/** The table, and below it as many problems as there is room for. */
function standbyLines({ model, selected, height, width }: StandbysView): readonly CellLine[] {
  const columns = [...model.columns, { title: 'BYTES OVER TIME', dispensable: 11 }];
  const room = Math.max(1, height - 4);
  const first = Math.max(0, Math.min(selected - Math.floor(room / 2), model.rows.length - room));
  const rows = model.rows.slice(first, first + room);
  return [
    ...gridLines({ columns, rows: rows.map(withTrend), width, selected: model.rows[selected]?.key ?? null }),
    ...model.problems.slice(0, room - rows.length).map((cell): CellLine => [cell]),
  ];
}

function withTrend(row: ReplicaScreenRow) {
  const trend: Cell = { text: sparkline(row.trend, trendWidth), tone: 'accent' };
  return { key: row.key, cells: [...row.cells, trend] };
}

/** Shows the screen until somebody quits it (`interrupted` by Ctrl-C), or the signal takes it away. */
export async function showReplicaScreen(
  feed: ReplicaScreenFeed,
  signal: AbortSignal,
): Promise<'quit' | 'interrupted' | 'taken away'> {
  const reason = await showFullScreen(<ReplicaScreen feed={feed} />, signal);
  return reason === 'quit' || reason === 'interrupted' ? reason : 'taken away';
}
