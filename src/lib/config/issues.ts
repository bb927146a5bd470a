import { isMap, type Document, type LineCounter } from 'yaml';
import type { z } from 'zod';

import { KpipeError } from '../errors.ts';
import { nearestName } from './nearest.ts';
import { isObject } from './plain-object.ts';
import { configSchema } from './schema.ts';

export interface Place {
  readonly file: string;
  readonly yaml: Document;
  readonly lines: LineCounter;
  readonly contextName: string | undefined;
}

/** What the schema finds wrong, each with where it stands and the nearest name that was meant. */
export function invalidConfig(issues: readonly z.core.$ZodIssue[], place: Place): KpipeError {
  const told = issues.slice(0, 10).map((issue) => describeIssue(issue, place));
  const more = issues.length > told.length ? [`… and ${issues.length - told.length} more`] : [];
  return new KpipeError('KPIPE_CONFIG_INVALID', [...told, ...more].join('\n'), {
    next: 'mend kpipe.yaml; `kpipe init` shows a whole one with comments',
  });
}

function describeIssue(issue: z.core.$ZodIssue, place: Place): string {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .map((key) => {
        const nearest = nearestName(key, knownKeys(path));
        const hint = nearest === undefined ? '' : `: did you mean ${nearest}?`;
        return `${position([...path, key], place)}unknown key ${[...path, key].join('.')}${hint}`;
      })
      .join('\n');
  }
  const named = path.length === 0 ? 'the file' : path.join('.');
  return `${position(path, place)}${named}: ${explain(issue)}`;
}

function explain(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? `missing (${issue.expected})` : `must be ${issue.expected}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_union':
      return unionMessage(issue);
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}

/** Of a union's branches, the one that came closest: the fewest complaints. */
function unionMessage(issue: z.core.$ZodIssueInvalidUnion): string {
  const closest = issue.errors.toSorted((left, right) => left.length - right.length)[0]?.[0];
  return closest === undefined ? issue.message : `${closest.path.join('.')} ${explain(closest)}`.trim();
}

/** `file:line:column: ` of the value at the path, or of what is nearest to it; the chosen context goes first. */
function position(path: readonly (string | number)[], place: Place): string {
  const roots = place.contextName === undefined ? [[]] : [['contexts', place.contextName], []];
  for (let depth = path.length; depth > 0; depth -= 1) {
    for (const root of roots) {
      const offset = startOf([...root, ...path.slice(0, depth)], place.yaml);
      if (offset !== undefined) {
        const { line, col } = place.lines.linePos(offset);
        return `${place.file}:${line}:${col}: `;
      }
    }
  }
  return `${place.file}: `;
}

/** Where the key of the last path element stands (or the item, in a list). */
function startOf(path: readonly (string | number)[], yaml: Document): number | undefined {
  const last = path.at(-1);
  const parent = path.length === 1 ? yaml.contents : yaml.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => String(item.key) === String(last));
    return rangeStart(pair?.key);
  }
  return rangeStart(yaml.getIn(path, true));
}

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node) || !Array.isArray(node.range)) {
    return undefined;
  }
  const start: unknown = node.range[0];
  return typeof start === 'number' ? start : undefined;
}

/** The keys that the schema knows at a path; through optional, default and union wrappers. */
function knownKeys(path: readonly (string | number)[]): readonly string[] {
  let schemas: unknown[] = [configSchema];
  for (const part of path) {
    schemas = schemas.flatMap(unwrap).flatMap((schema) => {
      const definition = definitionOf(schema);
      if (isObject(definition['shape'])) {
        return [definition['shape'][String(part)]];
      }
      return [definition['valueType'] ?? definition['element']];
    });
  }
  return schemas.flatMap(unwrap).flatMap((schema) => {
    const shape = definitionOf(schema)['shape'];
    return isObject(shape) ? Object.keys(shape) : [];
  });
}

function definitionOf(schema: unknown): Record<string, unknown> {
  if (typeof schema !== 'object' || schema === null || !('def' in schema)) {
    return {};
  }
  return isObject(schema.def) ? schema.def : {};
}

function unwrap(schema: unknown): unknown[] {
  const definition = definitionOf(schema);
  if (Array.isArray(definition['options'])) {
    return definition['options'].flatMap(unwrap);
  }
  const inner = definition['innerType'] ?? definition['in'];
  return inner === undefined ? [schema] : unwrap(inner);
}
