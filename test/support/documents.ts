import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './run-kpipe.ts';

/** The part of JSON Schema that scripts/generate writes; a schema with anything else fails. */
interface Schema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly anyOf?: readonly Schema[];
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
}

const known = new Set(
  '$schema $ref $defs title description anyOf type const enum properties required additionalProperties items'.split(
    ' ',
  ),
);

/** What a document has other than its command's schema says: missing, unknown or wrong members by their path. */
export function strayMembers(command: string, document: unknown): readonly string[] {
  const text = readFileSync(join(root, 'schemas', `${command.replaceAll(' ', '-')}.json`), 'utf8');
  const schema = JSON.parse(text) as Schema;
  return stray(schema, document, '', schema.$defs ?? {});
}

function stray(
  schema: Schema,
  value: unknown,
  path: string,
  defs: Readonly<Record<string, Schema>>,
): readonly string[] {
  const strange = Object.keys(schema).find((key) => !known.has(key));
  if (strange !== undefined) {
    throw new Error(`this checker knows nothing of ${strange}, which the schema has at ${path}`);
  }
  const at = path === '' ? '(document)' : path;
  if (schema.$ref !== undefined) {
    return stray(defs[schema.$ref.replace('#/$defs/', '')]!, value, path, defs);
  }
  if (schema.anyOf !== undefined) {
    const tries = schema.anyOf.map((one) => stray(one, value, path, defs));
    return tries.some((found) => found.length === 0) ? [] : [`${at}: no alternative fits`];
  }
  if ('const' in schema || schema.enum !== undefined) {
    return (schema.enum ?? [schema.const]).includes(value) ? [] : [`${at}: ${JSON.stringify(value)}`];
  }
  if (schema.type !== undefined && ![schema.type].flat().includes(typeOf(value))) {
    return Number.isInteger(value) && [schema.type].flat().includes('integer') ? [] : [`${at}: a ${typeOf(value)}`];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => stray(schema.items ?? {}, item, `${path}/${index}`, defs));
  }
  return typeof value === 'object' && value !== null ? strayInObject(schema, value, path, defs) : [];
}

function strayInObject(
  schema: Schema,
  value: object,
  path: string,
  defs: Readonly<Record<string, Schema>>,
): readonly string[] {
  const { properties = {}, required = [], additionalProperties = Object.keys(properties).length === 0 } = schema;
  const missing = required.filter((name) => !(name in value)).map((name) => `${path}/${name}: missing`);
  const inner = Object.entries(value).flatMap(([name, member]) => {
    const own = properties[name] ?? (additionalProperties === true ? {} : additionalProperties);
    return own === false ? [`${path}/${name}: not in the schema`] : stray(own, member, `${path}/${name}`, defs);
  });
  return [...missing, ...inner];
}

function typeOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
}
