import { useWindowSize } from 'ink';
import { useEffect, useState, useSyncExternalStore, type ReactElement } from 'react';

import { spread, type CellLine } from './cell.ts';
import { footer } from './lag-footer.ts';
import { shareOut } from './lag-screen-layout.ts';
import type { LagScreenFeed, LagScreenModel, Page, PageRow, ViewName } from './lag-screen-model.ts';
import { chosen, firstState, indexOf, nextState, shownRows, viewState, type ScreenState } from './lag-screen-state.ts';
import { Frame } from './frame.tsx';
import { Store } from './store.ts';
import { useScreenKeys } from './use-screen-keys.ts';
import { chartsLines } from './views/charts.ts';
import { helpLines } from './views/help.ts';
import { tableLines } from './views/table.ts';

const views: Readonly<Partial<Record<string, ViewName>>> = {
  t: 'topics',
  b: 'brokers',
  l: 'latency',
  r: 'roles',
  c: 'charts',
  o: 'overview',
};

/** `kpipe lag --watch`: the dashboard. */
export function LagScreen({ feed }: { readonly feed: LagScreenFeed }): ReactElement {
  const model = useSyncExternalStore(feed.subscribe, feed.current);
  const [store] = useState(() => new Store(nextState, firstState));
  const state = useSyncExternalStore(store.subscribe, store.current);
  const { columns: width, rows: height } = useWindowSize();
  const page = feed.page(state.view, chosen(state));
  useEffect(() => feed.open(state.view), [feed, state.view]);
  useLagKeys(feed, store);

  const head = [
    spread(titleLine(model, page, state), costCells(page), width),
    ...(height >= fewestForHeader ? [model.header] : []),
  ];
  const room = Math.max(1, height - head.length - 1);
  const { body, problems } = bodyLines({ page, state, room, width });
  return (
    <Frame head={head} body={body} foot={[...problems, footer(state, page, width)]} width={width} height={height} />
  );
}

const fewestForHeader = 8;

/** Keys are judged by the state as it is, which may be newer than the frame. */
function useLagKeys(feed: LagScreenFeed, store: Store<ScreenState, Parameters<typeof nextState>[1]>): void {
  const pageNow = (): Page => feed.page(store.current().view, chosen(store.current()));
  const keysNow = (): readonly string[] => {
    const { table, choices } = pageNow();
    return table === null ? choices : rowsOf(table, store.current()).map(({ key }) => key);
  };
  useScreenKeys({
    togglePause: feed.togglePause,
    changeInterval: feed.changeInterval,
    move: (by) => store.dispatch({ kind: 'move', by, keys: keysNow() }),
    open: () => store.dispatch({ kind: 'open', keys: keysNow() }),
    back: () => store.dispatch({ kind: 'back' }),
    help: () => store.dispatch({ kind: 'help' }),
    press: (character) => {
      const view = views[character];
      if (view !== undefined) {
        store.dispatch({ kind: 'view', view });
      } else if (character === 's') {
        store.dispatch({ kind: 'sort', sorts: pageNow().table?.sorts.length ?? 1 });
      } else if (character === '/' && pageNow().table !== null) {
        store.dispatch({ kind: 'filter' });
      } else if (store.current().view === 'latency' && (character === 'a' || character === 'e')) {
        feed.probe(character === 'e' ? 'events' : null);
      }
    },
    typing: {
      isOn: () => store.current().typing,
      type: (text) => store.dispatch({ kind: 'type', text }),
      erase: () => store.dispatch({ kind: 'erase' }),
      accept: () => store.dispatch({ kind: 'accept' }),
    },
  });
}

function rowsOf(table: NonNullable<Page['table']>, state: ScreenState): readonly PageRow[] {
  return shownRows(table, viewState(state));
}

function titleLine(model: LagScreenModel, page: Page, state: ScreenState): CellLine {
  const { path, freshness, table } = page;
  const { sort, filter } = viewState(state);
  const parts = [
    path === null ? model.title : `${model.title} › ${path}`,
    freshness.observedAt ?? 'looking…',
    `every ${model.interval}`,
    ...(sort === 0 || table === null ? [] : [`by ${table.sorts[sort] ?? ''}`]),
    ...(filter === '' || state.typing ? [] : [`/${filter}`]),
  ];
  return [
    { tone: 'strong', text: 'kpipe lag' },
    { tone: 'plain', text: `  ${parts.join('  ')}` },
    { tone: 'warn', text: model.paused ? '  PAUSED' : '' },
    { tone: 'bad', text: freshness.stale === null ? '' : `  ${freshness.stale}` },
  ];
}

function costCells({ freshness: { cost } }: Page): CellLine {
  return cost === null ? [] : [{ tone: 'dim', text: cost }];
}

interface BodyView {
  readonly page: Page;
  readonly state: ScreenState;
  readonly room: number;
  readonly width: number;
}

/** What the view shows, as many lines as there is room; its problems stand right above the keys. */
function bodyLines({ page, state, room, width }: BodyView): Record<'body' | 'problems', readonly CellLine[]> {
  const { table, charts } = page;
  if (state.help) {
    return { body: helpLines({ view: state.view, top: state.top, room, width }), problems: [] };
  }
  const rows = table === null ? [] : rowsOf(table, state);
  const shares = shareOut(page, rows.length, { room, width });
  const selected = indexOf(
    state,
    rows.map(({ key }) => key),
  );
  const isFiltered = viewState(state).filter !== '';
  return {
    body: [
      ...shares.intro,
      ...(table === null ? [] : tableLines({ table, rows, selected, room: shares.table, width, isFiltered })),
      ...shares.lines,
      ...(shares.charts === 0 ? [] : chartsLines({ charts, room: shares.charts, width })),
    ],
    problems: shares.problems,
  };
}
