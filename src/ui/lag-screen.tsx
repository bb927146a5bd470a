import { Box, Text, useApp, useInput, useStdin, useWindowSize } from 'ink';
import { useReducer, useSyncExternalStore, type ReactElement } from 'react';

import { Grid, Toned, type Cell, type GridRow } from './grid.tsx';
import { LagHelp } from './lag-help.tsx';
import type { LagScreenFeed, LagScreenModel, LagScreenRow } from './lag-screen-model.ts';
import { clamp, firstState, indexOf, nextState, type Sort } from './lag-screen-state.ts';
import { sparkline } from './sparkline.ts';

export interface LagScreenProps {
  readonly feed: LagScreenFeed;
}

const otherKeys = 's sort  p pause  +/− interval  ? help  q quit';
const trendWidth = 16;
const maxNotes = 3;

/** `kpipe lag --watch`: groups, or the partitions of one. */
export function LagScreen({ feed }: LagScreenProps): ReactElement {
  const model = useSyncExternalStore(feed.subscribe, feed.current);
  const { columns, rows: height } = useWindowSize();
  const [state, dispatch] = useReducer(nextState, firstState);
  const { exit } = useApp();
  const { isRawModeSupported } = useStdin();
  const groups = sortRows(model.rows, state.sort);
  const keys = groups.map(({ key }) => key);
  const open = groups.find(({ key }) => key === state.opened);

  const press = (character: string): void => {
    switch (character) {
      case 'q':
        return exit('quit');
      case 's':
        return dispatch({ kind: 'sort' });
      case 'p':
        return feed.togglePause();
      case '+':
      case '-':
        return feed.changeInterval(character === '+' ? 1 : -1);
      case '?':
        return dispatch({ kind: 'help' });
      default:
        return undefined;
    }
  };
  useInput(
    (input, key) => {
      if (key.ctrl && input === 'c') {
        exit('interrupted');
      } else if (key.upArrow || key.downArrow) {
        dispatch({ kind: 'move', step: key.upArrow ? -1 : 1, keys, partitions: open?.partitions.length ?? 0 });
      } else if (key.return) {
        dispatch({ kind: 'open', keys });
      } else if (key.escape || key.backspace) {
        dispatch({ kind: 'back' });
      } else {
        // A slow terminal hands over several keys as one input.
        input.split('').forEach(press);
      }
    },
    { isActive: isRawModeSupported },
  );

  const notes = model.notes.slice(0, Math.min(maxNotes, Math.max(0, height - 5)));
  const room = Math.max(1, height - 3 - notes.length);
  return (
    <Box flexDirection="column" width={columns} height={height} overflow="hidden">
      <Header model={model} of={open?.key ?? null} sort={state.sort} />
      <Box flexDirection="column" flexGrow={1} overflow="hidden">
        {state.help ? (
          <LagHelp />
        ) : open === undefined ? (
          <Groups model={model} groups={groups} selected={indexOf(state, keys)} room={room} width={columns} />
        ) : (
          <Partitions model={model} rows={open.partitions} at={state.at} room={room} width={columns} />
        )}
      </Box>
      {notes.map((note) => (
        <Toned key={note.text} cell={note} />
      ))}
      <Text dimColor wrap="truncate">
        {`${open === undefined ? '↑↓ select  enter partitions' : '↑↓ scroll  esc back'}  ${otherKeys}`}
      </Text>
    </Box>
  );
}

function Header({
  model,
  of,
  sort,
}: {
  readonly model: LagScreenModel;
  readonly of: string | null;
  readonly sort: Sort;
}): ReactElement {
  const parts = [
    of === null ? model.title : `${model.title} › ${of}`,
    model.observedAt ?? 'looking…',
    `every ${model.interval}`,
    ...(sort === 'declared' ? [] : [`by ${sort}`]),
    ...(model.paused ? ['PAUSED'] : []),
  ];
  return (
    <Text wrap="truncate">
      <Text bold>kpipe lag</Text>
      {`  ${parts.join('  ')}`}
      {model.failure === null ? '' : <Text color="red">{`  STALE: ${model.failure}`}</Text>}
    </Text>
  );
}

interface GroupsProps {
  readonly model: LagScreenModel;
  readonly groups: readonly LagScreenRow[];
  readonly selected: number;
  readonly room: number;
  readonly width: number;
}

function Groups({ model, groups, selected, room, width }: GroupsProps): ReactElement {
  const rows = windowAround(groups, selected, room).map((row) => {
    const trend: Cell = { text: sparkline(row.trend, trendWidth), tone: 'accent' };
    return { key: row.key, cells: [...row.cells, trend] };
  });
  const columns = [...model.columns, { title: 'LAG OVER TIME', dispensable: 9 }];
  return <Grid columns={columns} rows={rows} width={width} selected={groups[selected]?.key ?? null} />;
}

interface PartitionsProps {
  readonly model: LagScreenModel;
  readonly rows: readonly GridRow[];
  readonly at: number;
  readonly room: number;
  readonly width: number;
}

function Partitions({ model, rows, at, room, width }: PartitionsProps): ReactElement {
  const current = clamp(at, rows.length);
  return (
    <Grid
      columns={model.partitionColumns}
      rows={windowAround(rows, current, room)}
      width={width}
      selected={rows[current]?.key ?? null}
    />
  );
}

function sortRows(rows: readonly LagScreenRow[], sort: Sort): readonly LagScreenRow[] {
  switch (sort) {
    case 'declared':
      return rows;
    case 'lag':
      return rows.toSorted((left, right) => right.lag - left.lag);
    case 'time':
      return rows.toSorted((left, right) => right.time - left.time);
    case 'status':
      return rows.toSorted((left, right) => right.severity - left.severity || right.lag - left.lag);
  }
}

/** As many rows as there is room for, the selected one among them. */
function windowAround<Row>(rows: readonly Row[], at: number, room: number): readonly Row[] {
  const start = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room));
  return rows.slice(start, start + room);
}
