import { lineWidth, type Cell, type CellLine } from './cell.ts';
import type { Page, PageProblem } from './lag-screen-model.ts';
import { wrapWords } from './width.ts';

/** How the lines of a screen are shared out. Pure. */
export interface Shares {
  readonly intro: readonly CellLine[];
  /** Lines for the table, its titles among them. */
  readonly table: number;
  readonly lines: readonly CellLine[];
  /** Lines for the charts; 0: none are shown. */
  readonly charts: number;
  readonly problems: readonly CellLine[];
}

/** Problems may take so much of the room, notices a line; tables with few rows leave them more. */
const problemShare = 0.4;
/** Below it only the table and the worst problem are shown. */
const roomyFrom = 9;
const fewestRows = 3;
const fewestChartLines = 10;
const mostChartLines = 30;

/** @param room lines between header and footer */
export function shareOut(
  page: Page,
  rows: number,
  { room, width }: { readonly room: number; readonly width: number },
): Shares {
  const intro = room >= roomyFrom ? page.intro : [];
  const hasTable = page.table !== null;
  const wanted = hasTable ? rows + 1 : 0;
  const free = Math.max(0, room - intro.length - wanted - page.lines.length);
  const share = page.problems.some(({ level }) => level !== 'notice') ? Math.floor(room * problemShare) : 1;
  const budget = page.problems.length === 0 ? 0 : Math.max(1, share, free);
  const problems = problemLines(page.problems, width, Math.min(budget, room - (hasTable ? fewestRows : 0)));
  const left = Math.max(0, room - intro.length - problems.length);
  const lines = page.lines.slice(
    0,
    Math.max(0, left - Math.min(wanted, Math.max(fewestRows, left - page.lines.length))),
  );
  const below = left - lines.length - (hasTable ? Math.max(1, Math.min(wanted, left - lines.length)) : 0);
  const charts = chartRoom(page, hasTable, below);
  return { intro, table: hasTable ? Math.max(1, left - lines.length - charts) : 0, lines, charts, problems };
}

/** Below a table charts need room enough to be worth it, and take no more than they need. */
function chartRoom({ charts }: Page, hasTable: boolean, room: number): number {
  if (charts.length === 0) {
    return 0;
  }
  if (!hasTable) {
    return room;
  }
  return room < fewestChartLines ? 0 : Math.min(room, mostChartLines);
}

/** All problems with everything that is known of them, if there is room; else less of each, and at last fewer of them. */
export function problemLines(problems: readonly PageProblem[], width: number, room: number): readonly CellLine[] {
  if (problems.length === 0 || room <= 0) {
    return [];
  }
  for (const detail of ['full', 'next'] as const) {
    const lines = problems.flatMap((problem) => linesOf(problem, width, detail));
    if (lines.length <= room) {
      return lines;
    }
  }
  const [worst, ...others] = problems;
  const first = worst === undefined ? [] : linesOf(worst, width, room < roomyProblems ? 'single' : 'next');
  const all = [...first, ...others.flatMap((problem) => linesOf(problem, width, 'single'))];
  const more = all.length - room;
  return more <= 0 || room === 1
    ? all.slice(0, room)
    : [...all.slice(0, room - 1), [{ tone: 'dim', text: `  … and ${more + 1} more` }]];
}

/** From so many lines on the worst problem says what to do, even where the others have no room for it. */
const roomyProblems = 4;

const marks = {
  fail: { tone: 'bad', text: '✗ ' },
  warn: { tone: 'warn', text: '! ' },
  notice: { tone: 'dim', text: '· ' },
} as const;
const arrow = '  → ';
const indent = 4;
const margin: Cell = { tone: 'plain', text: '  ' };

/** `full`: all of it, in whole words; `next`: what and what to do; `single`: one line. */
function linesOf(problem: PageProblem, width: number, detail: 'full' | 'next' | 'single'): readonly CellLine[] {
  const { level, text, means, next } = problem;
  const tone = level === 'notice' ? 'dim' : 'plain';
  const what: CellLine = [marks[level], { tone, text }];
  const doing: CellLine =
    next === null
      ? []
      : [
          { tone: 'dim', text: arrow },
          { tone: 'accent', text: next },
        ];
  const fits = lineWidth(what) + lineWidth(doing) <= width;
  if (detail === 'single' || (fits && (means === null || detail === 'next'))) {
    return [[...what, ...doing]];
  }
  const wrapped = (content: string): readonly string[] => wrapWords(content, width - indent);
  return [
    ...wrapped(text).map((line, at): CellLine => [at === 0 ? marks[level] : margin, { tone, text: line }]),
    ...(means === null || detail === 'next'
      ? []
      : wrapped(means).map((line): CellLine => [margin, { tone: 'dim', text: line }])),
    ...(next === null
      ? []
      : wrapped(next).map((line, at): CellLine => [
          at === 0 ? { tone: 'dim', text: arrow } : { tone: 'plain', text: ' '.repeat(indent) },
          { tone: 'accent', text: line },
        ])),
  ];
}

/** As many rows as there is room for, the selected one among them. */
export function windowAround<Row>(rows: readonly Row[], at: number, room: number): readonly Row[] {
  const start = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room));
  return rows.slice(start, start + room);
}
