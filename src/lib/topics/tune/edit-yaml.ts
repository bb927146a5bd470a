import { isAlias, isMap, isScalar, parseDocument, type Document, type Pair, type YAMLMap } from 'yaml';

import { KpipeError } from '../../errors.ts';
import type { YamlEdit } from './advice.ts';

/** A text put in the place of what stands between two offsets. */
interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface EditedYaml {
  readonly text: string;
  /** Unified, without a head. */
  readonly diff: readonly string[];
}

/**
 * Makes the edits in the file's own text: yaml's document says where the values stand, and every byte beside them stays,
 * comments and columns included. A context's overlay is edited where it is the one that says it. Pure.
 * @throws KPIPE_REFUSED for values that are not written where they are read: references, aliases
 */
export function editYaml(text: string, edits: readonly YamlEdit[], context: string | null): EditedYaml {
  const yaml = parseDocument(text);
  const splices = edits.map((edit) => spliceOf(edit, { yaml, text, context }));
  const edited = splices
    .toSorted((left, right) => right.start - left.start)
    .reduce((changed, { start, end, text: put }) => changed.slice(0, start) + put + changed.slice(end), text);
  return { text: edited, diff: diffOf(text, splices) };
}

interface Place {
  readonly yaml: Document;
  readonly text: string;
  readonly context: string | null;
}

function spliceOf(edit: YamlEdit, place: Place): Splice {
  const overlay = place.context === null ? [] : [['contexts', place.context, ...edit.path]];
  const written = [...overlay, edit.path].map((path) => writtenPath(path, place.yaml));
  const target = written.find((path) => place.yaml.hasIn(path)) ?? edit.path;
  const node: unknown = place.yaml.getIn(target, true);
  if (node === undefined) {
    return insertion(target, edit.to, place);
  }
  const range = isScalar(node) ? node.range : undefined;
  if (range === undefined || range === null || isReference(place.text.slice(range[0], range[1]))) {
    throw byHand(target, edit);
  }
  return { start: range[0], end: range[1], text: String(edit.to) };
}

/** Whoever writes `partitions: 6` has no count to edit. */
function writtenPath(path: readonly string[], yaml: Document): readonly string[] {
  const parent = path.slice(0, -1);
  return path.at(-1) === 'count' && isScalar(yaml.getIn(parent, true)) ? parent : path;
}

function isReference(source: string): boolean {
  return source.includes('${');
}

function byHand(path: readonly string[], edit: YamlEdit): KpipeError {
  return new KpipeError('KPIPE_REFUSED', `${path.join('.')} is no plain value in kpipe.yaml: nothing was written`, {
    next: `write ${String(edit.to)} by hand where its value comes from`,
  });
}

/** The missing part of the path, put into the innermost map that is there: a line of its own, or the end of `{…}`. */
function insertion(path: readonly string[], value: string | number, { yaml, text }: Place): Splice {
  const depth = path.findLastIndex((_key, index) => isMap(yaml.getIn(path.slice(0, index), true)));
  const map: unknown = depth < 0 ? undefined : yaml.getIn(path.slice(0, depth), true);
  const next: unknown = yaml.getIn(path.slice(0, depth + 1), true);
  if (!isMap(map) || map.range === undefined || map.range === null || isAlias(next) || next !== undefined) {
    throw byHand(path, { path, from: null, to: value });
  }
  const [key = '', ...inner] = path.slice(depth);
  const entry = `${key}: ${inner.reduceRight((nested, name) => `{${name}: ${nested}}`, String(value))}`;
  const last = map.items.at(-1);
  if (map.flow === true) {
    const at = last === undefined ? map.range[0] + 1 : endOfPair(last, map.range[0] + 1);
    return { start: at, end: at, text: last === undefined ? entry : `, ${entry}` };
  }
  const column = columnOf(map, text);
  const after = map.items.findLast(({ value: each }) => isOneLine(each, text));
  const line = text.includes('\r\n') ? '\r\n' : '\n';
  if (after === undefined || column === null) {
    throw byHand(path, { path, from: null, to: value });
  }
  const at = endOfLine(text, endOfPair(after, map.range[0]));
  return { start: at, end: at, text: `${line}${' '.repeat(column)}${entry}` };
}

function isOneLine(value: unknown, text: string): boolean {
  const range = rangeOf(value);
  return range !== null && !text.slice(range[0], range[1]).includes('\n');
}

function endOfPair({ value, key }: Pair, otherwise: number): number {
  return (rangeOf(value) ?? rangeOf(key))?.[1] ?? otherwise;
}

function rangeOf(node: unknown): readonly [number, number] | null {
  if (typeof node !== 'object' || node === null || !('range' in node) || !Array.isArray(node.range)) {
    return null;
  }
  const range: readonly unknown[] = node.range;
  const [start, end] = range;
  return typeof start === 'number' && typeof end === 'number' ? [start, end] : null;
}

/** How far the keys of a block map stand in. */
function columnOf(map: YAMLMap, text: string): number | null {
  const start = rangeOf(map.items[0]?.key)?.[0];
  return start === undefined ? null : start - (text.lastIndexOf('\n', start - 1) + 1);
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  const at = end < 0 ? text.length : end;
  return text[at - 1] === '\r' ? at - 1 : at;
}

const contextLines = 1;

/** Splices stay within a line, or add some behind it: so the diff is told line by line. */
function diffOf(text: string, splices: readonly Splice[]): readonly string[] {
  const starts = lineStarts(text);
  const lineOf = (offset: number): number => starts.findLastIndex((start) => start <= offset);
  const byLine = Map.groupBy(splices, ({ start }) => lineOf(start));
  const touched = [...byLine.keys()].toSorted((left, right) => left - right);
  const hunks: number[][] = [];
  for (const line of touched) {
    const hunk = hunks.at(-1);
    if (hunk !== undefined && line - (hunk.at(-1) ?? 0) <= 2 * contextLines + 1) {
      hunk.push(line);
    } else {
      hunks.push([line]);
    }
  }
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  let added = 0;
  return hunks.flatMap((hunk) => {
    const first = Math.max(0, (hunk[0] ?? 0) - contextLines);
    const end = Math.min(lines.length, (hunk.at(-1) ?? 0) + contextLines + 1);
    const body = lines.slice(first, end).flatMap((line, index) => {
      const changes = byLine.get(first + index);
      const start = starts[first + index] ?? 0;
      return changes === undefined ? [` ${line}`] : changedLines(line, start, changes);
    });
    const size = body.filter((line) => !line.startsWith('-')).length;
    const head = `@@ -${first + 1},${end - first} +${first + 1 + added},${size} @@`;
    added += size - (end - first);
    return [head, ...body];
  });
}

function changedLines(line: string, start: number, splices: readonly Splice[]): readonly string[] {
  const changed = splices
    .toSorted((left, right) => right.start - left.start)
    .reduce((now, splice) => now.slice(0, splice.start - start) + splice.text + now.slice(splice.end - start), line);
  const after = changed.split(/\r?\n/);
  return after[0] === line
    ? [` ${line}`, ...after.slice(1).map((each) => `+${each}`)]
    : [`-${line}`, ...after.map((each) => `+${each}`)];
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0 && at + 1 < text.length; at = text.indexOf('\n', at + 1)) {
    starts.push(at + 1);
  }
  return starts;
}
