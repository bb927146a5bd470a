import { drawArea, pointsAcross } from '../braille.ts';
import type { CellLine } from '../cell.ts';
import type { PageChart } from '../lag-screen-model.ts';
import { fit } from '../width.ts';

export interface ChartsView {
  readonly charts: readonly PageChart[];
  readonly room: number;
  readonly width: number;
}

/** A chart is a title and at least so many lines; those that do not fit are left out, the last first. */
const lowest = 3;
const labelWidth = 7;

/** Charts below each other, each with its scale at the left and its time below the last one. */
export function chartsLines({ charts, room, width }: ChartsView): readonly CellLine[] {
  const shown = charts.slice(0, Math.max(1, Math.floor((room - 1) / (lowest + 1))));
  const each = Math.floor((room - 1) / Math.max(1, shown.length));
  const left = (room - 1) % Math.max(1, shown.length);
  return [
    ...shown.flatMap((chart, at) => chartLines(chart, Math.max(1, each - 1 + (at === 0 ? left : 0)), width)),
    timeLine(shown[0], width),
  ];
}

function chartLines({ title, points, format }: PageChart, height: number, width: number): readonly CellLine[] {
  const plot = width - labelWidth - 2;
  const shown = points.slice(-pointsAcross(plot));
  const known = shown.filter((value) => value !== null);
  const highest = Math.max(0, ...known);
  const area = drawArea(shown, highest, { width: plot, height });
  return [
    title,
    ...area.map((text, line): CellLine => {
      const isKnown = known.length > 0;
      const label = isKnown && line === 0 ? format(highest) : isKnown && line === height - 1 && height > 1 ? '0' : '';
      return [
        {
          tone: 'dim',
          text: `${fit(label, labelWidth, 'right')} ${line === 0 ? '┤' : line === height - 1 ? '┼' : '│'}`,
        },
        { tone: 'accent', text },
      ];
    }),
  ];
}

/** How long ago the first point was, below it. */
function timeLine(chart: PageChart | undefined, width: number): CellLine {
  const plot = width - labelWidth - 2;
  const ages = chart?.agesMs.slice(-pointsAcross(plot)) ?? [];
  const [oldest] = ages;
  if (chart === undefined || oldest === undefined) {
    return [{ tone: 'dim', text: `${' '.repeat(labelWidth + 2)}looking…` }];
  }
  const label = `${chart.formatAge(oldest)} ago`;
  const now = '  now';
  const first = Math.floor((pointsAcross(plot) - ages.length) / 2);
  const at = Math.max(0, Math.min(first, plot - label.length - now.length));
  return [{ tone: 'dim', text: `${' '.repeat(labelWidth + 2 + at)}${fit(label, plot - at - now.length)}${now}` }];
}
