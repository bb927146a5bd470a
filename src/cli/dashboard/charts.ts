import { formatCount, formatDuration } from '../../lib/config/units.ts';
import type { LagReport } from '../../lib/offsets/lag-report.ts';
import type { Page, PageChart } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import { dim } from '../output/text.ts';
import { formatAge } from './freshness.ts';
import type { LagTrends, TrendPoint } from './lag-trends.ts';
import { emptyPage, plain } from './page.ts';

type Figure = 'lagRecords' | 'inPerSec' | 'outPerSec' | 'timeLagMs';

const charted: readonly { readonly figure: Figure; readonly title: string; readonly unit: string }[] = [
  { figure: 'lagRecords', title: 'LAG', unit: 'records' },
  { figure: 'inPerSec', title: 'IN', unit: 'records/s' },
  { figure: 'outPerSec', title: 'OUT', unit: 'records/s' },
  { figure: 'timeLagMs', title: 'TIME', unit: 'age of the first unread record' },
];

/** Lag and throughput of one group over time; the most important chart first. */
export function chartsPage(
  report: LagReport | null,
  trends: LagTrends,
  key: string | null,
  nowMs: number,
): Omit<Page, 'freshness'> {
  const groups = report?.roles.map(({ group }) => group) ?? [];
  const group = groups.find((each) => escapeControls(each) === key) ?? groups[0];
  const points = group === undefined ? [] : (trends.get(group) ?? []);
  return {
    ...emptyPage,
    path: group === undefined ? null : escapeControls(group),
    choices: groups.map(escapeControls),
    charts: charted.map(({ figure, title, unit }) => chart(figure, `${title} `, unit, points, nowMs)),
  };
}

function chart(figure: Figure, title: string, unit: string, points: readonly TrendPoint[], nowMs: number): PageChart {
  const format = figure === 'timeLagMs' ? formatDuration : formatCount;
  const now = points.at(-1)?.[figure] ?? null;
  return {
    title: [{ tone: 'strong', text: title }, now === null ? dim('?') : plain(format(now)), dim(` ${unit}`)],
    points: points.map((point) => point[figure]),
    agesMs: points.map(({ atMs }) => Math.max(0, nowMs - atMs)),
    format,
    formatAge,
  };
}
