import { lineWidth, type CellLine } from './cell.ts';
import type { Page, ViewName } from './lag-screen-model.ts';
import { viewState, type ScreenState } from './lag-screen-state.ts';

/** The keys, as many of them as fit; the view that is open is in brackets. */

interface Hint {
  readonly key: string;
  readonly text: string;
  readonly view?: ViewName;
  /** Higher ones go first where there is no room. */
  readonly dispensable: number;
}

const viewHints: readonly Hint[] = [
  { key: 't', text: 'topics', view: 'topics', dispensable: 3 },
  { key: 'b', text: 'brokers', view: 'brokers', dispensable: 3 },
  { key: 'l', text: 'latency', view: 'latency', dispensable: 3 },
  { key: 'r', text: 'roles', view: 'roles', dispensable: 3 },
  { key: 'c', text: 'charts', view: 'charts', dispensable: 3 },
];

/** Rather than take these away, hints stand closer. */
const keptRoomy = 5;
/** Rather than take views away, the best known hints are shortened. */
const keptClose = 3;

export function footer(state: ScreenState, page: Page, width: number): CellLine {
  if (state.typing) {
    return [
      { tone: 'accent', text: `/${viewState(state).filter}▏` },
      { tone: 'dim', text: '  enter keep  esc clear' },
    ];
  }
  const all = hintsOf(state, page);
  const fits = (hints: readonly Hint[], gap: number): boolean => lineWidth(lineOf(hints, state.view, gap)) <= width;
  const roomy = fewer(all, (hints) => fits(hints, 2), keptRoomy);
  if (roomy !== null) {
    return lineOf(roomy, state.view, 2);
  }
  const close = fewer(all, (hints) => fits(hints, 1), keptClose);
  return lineOf(close ?? fewer(all.map(shortened), (hints) => fits(hints, 1), 0) ?? [], state.view, 1);
}

/** Everybody knows `?` and `q`. */
function shortened(hint: Hint): Hint {
  return hint.dispensable < keptClose ? { ...hint, text: '' } : hint;
}

/** Takes hints away, the most dispensable first, until they fit; null where those that `keep` are too many. */
function fewer(all: readonly Hint[], fits: (hints: readonly Hint[]) => boolean, keep: number): readonly Hint[] | null {
  let hints = all;
  while (!fits(hints)) {
    const worst = Math.max(...hints.map(({ dispensable }) => dispensable));
    if (hints.length === 0 || worst <= keep) {
      return null;
    }
    hints = hints.toSpliced(
      hints.findLastIndex(({ dispensable }) => dispensable === worst),
      1,
    );
  }
  return hints;
}

function hintsOf({ view, help, from }: ScreenState, { table, choices }: Page): readonly Hint[] {
  if (help) {
    return [
      { key: '↑↓', text: 'scroll', dispensable: 2 },
      { key: 'esc', text: 'back', dispensable: 1 },
      { key: 'q', text: 'quit', dispensable: 0 },
    ];
  }
  const opens: Readonly<Partial<Record<ViewName, string>>> = {
    overview: 'partitions',
    roles: 'partitions',
    topics: 'partitions',
    brokers: 'disks',
  };
  const isOpened = view === 'group' || view === 'topic' || view === 'broker';
  return [
    ...(view === 'overview' ? [] : [{ key: 'esc', text: isOpened ? from : 'overview', dispensable: 4 }]),
    ...(table?.opens === true && opens[view] !== undefined
      ? [{ key: 'enter', text: opens[view], dispensable: 5 }]
      : []),
    ...(choices.length > 1 ? [{ key: '↑↓', text: 'group', dispensable: 5 }] : []),
    ...viewHints,
    ...(table === null ? [] : [{ key: 's', text: 'sort', dispensable: 7 }]),
    ...(table === null ? [] : [{ key: '/', text: 'filter', dispensable: 6 }]),
    { key: 'p', text: 'pause', dispensable: 8 },
    { key: '+/−', text: 'interval', dispensable: 9 },
    { key: '?', text: 'help', dispensable: 2 },
    { key: 'q', text: 'quit', dispensable: 1 },
  ];
}

function lineOf(hints: readonly Hint[], view: ViewName, gap: number): CellLine {
  return hints.flatMap((hint, at): CellLine => {
    const before = { tone: 'plain', text: at === 0 ? '' : ' '.repeat(gap) } as const;
    return hint.view === view
      ? [before, { tone: 'strong', text: `[${hint.key} ${hint.text}]` }]
      : [before, { tone: 'accent', text: hint.key }, { tone: 'dim', text: hint.text === '' ? '' : ` ${hint.text}` }];
  });
}
