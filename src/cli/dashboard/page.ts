import type { CellLine } from '../../ui/cell.ts';
import type { Page, PageProblem } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import type { Span } from '../output/text.ts';

/** A page without anything: what a view has, it puts in. What goes in is made safe for a terminal first. */
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
export function spanLine(line: string | Span | readonly (string | Span)[]): CellLine {
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
