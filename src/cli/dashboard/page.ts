import { escapeControls } from '../output/escape.ts';
import type { Column } from '../output/table.ts';
import type { Span } from '../output/text.ts';

/** What one view of the dashboard shows. Everything in it is safe for a terminal. */
export interface Page {
  /** Beside the title: `› kpipe-events`. */
  readonly path: string | null;
  readonly freshness: Freshness;
  /** Above the table, a line each. */
  readonly intro: readonly SpanLine[];
  readonly table: PageTable | null;
  /** Below the table. */
  readonly lines: readonly SpanLine[];
  readonly charts: readonly PageChart[];
  /** What ↑↓ go through where there is no table. */
  readonly choices: readonly string[];
  /** Worst first; as many are shown as there is room for. */
  readonly problems: readonly PageProblem[];
}

export type SpanLine = readonly Span[];

export interface Freshness {
  /** `14:02:11Z`; null: nothing was seen yet. */
  readonly observedAt: string | null;
  /** `STALE 14s: no Kafka broker answered`; null: it is fresh. */
  readonly stale: string | null;
  /** `12 requests 34ms`; null: not known. */
  readonly cost: string | null;
}

export interface PageColumn extends Column {
  /** Where the terminal is narrow, columns of higher numbers go first; without one a column stays. */
  readonly dispensable?: number;
}

export interface PageTable {
  readonly columns: readonly PageColumn[];
  readonly rows: readonly PageRow[];
  /** What `s` sorts by; the first is the order of `rows`. */
  readonly sorts: readonly string[];
  /** The title of the sparklines; null: there are none. */
  readonly trend: string | null;
  /** Whether enter opens a row. */
  readonly opens: boolean;
  /** Instead of rows where there are none. */
  readonly empty: string;
}

export interface PageRow {
  readonly key: string;
  readonly cells: readonly Span[];
  /** By the sorts after the first: higher comes first. */
  readonly ranks: readonly number[];
  /** Oldest first; null where it was not known. */
  readonly trend: readonly (number | null)[];
}

export interface PageChart {
  readonly title: SpanLine;
  readonly points: readonly (number | null)[];
  /** How long ago the points were, ms, as `points`. */
  readonly agesMs: readonly number[];
  readonly format: (value: number) => string;
  readonly formatAge: (ms: number) => string;
}

export interface PageProblem {
  readonly level: 'fail' | 'warn' | 'notice';
  readonly text: string;
  /** What it leads to. */
  readonly means: string | null;
  /** What to do. */
  readonly next: string | null;
}

export type ViewName =
  | 'overview'
  | 'group'
  | 'topics'
  | 'topic'
  | 'brokers'
  | 'broker'
  | 'latency'
  | 'roles'
  | 'charts';

export const emptyPage: Omit<Page, 'freshness'> = {
  path: null,
  intro: [],
  table: null,
  lines: [],
  charts: [],
  choices: [],
  problems: [],
};

export function safe(span: Span): Span {
  return { tone: span.tone, text: escapeControls(span.text) };
}

export function plain(text: string): Span {
  return { tone: 'plain', text: escapeControls(text) };
}

/** A line of spans and texts, made safe. */
export function spanLine(line: string | Span | readonly (string | Span)[]): SpanLine {
  const parts = typeof line === 'string' || 'tone' in line ? [line] : line;
  return parts.map((part) => (typeof part === 'string' ? plain(part) : safe(part)));
}

export function problem(
  level: PageProblem['level'],
  text: string,
  { means = null, next = null }: { readonly means?: string | null; readonly next?: string | null } = {},
): PageProblem {
  return {
    level,
    text: escapeControls(text),
    means: means === null ? null : escapeControls(means),
    next: next === null ? null : escapeControls(next),
  };
}
