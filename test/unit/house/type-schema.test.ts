import { Project } from 'ts-morph';
import { expect, test } from 'vitest';

import { documentSchemas } from '../../../scripts/generate/type-schema.mjs';

const project = new Project({
  compilerOptions: { strict: true, exactOptionalPropertyTypes: true, lib: ['lib.es2024.d.ts'] },
  useInMemoryFileSystem: true,
});

/** The schema of the type of the constant `it` in a source text. */
function schemaOf(source: string): object {
  const declared = project
    .createSourceFile('document.ts', source, { overwrite: true })
    .getVariableDeclarationOrThrow('it')
    .getTypeNodeOrThrow();
  const checker = project.getTypeChecker().compilerObject;
  return documentSchemas(checker)(checker.getTypeFromTypeNode(declared.compilerNode));
}

test.each([
  ['string', { type: 'string' }],
  ['bigint', { type: 'string' }],
  ['number | null', { type: ['null', 'number'] }],
  ["'ok' | 'bad' | null", { anyOf: [{ enum: ['bad', 'ok'] }, { type: 'null' }] }],
  ['boolean | string', { type: ['boolean', 'string'] }],
  ['readonly bigint[]', { type: 'array', items: { type: 'string' } }],
  ['ReadonlyMap<string, number>', { type: 'object', additionalProperties: { type: 'number' } }],
  ['Readonly<Record<string, bigint>>', { type: 'object', additionalProperties: { type: 'string' } }],
  [
    'readonly [string, 1]',
    { type: 'array', prefixItems: [{ type: 'string' }, { const: 1 }], minItems: 2, maxItems: 2 },
  ],
  ['unknown', {}],
])('given the type %s, when its schema is made, then it says what JSON has of it', (type, schema) => {
  expect(schemaOf(`export declare const it: ${type};`)).toEqual(schema);
});

test('given an object with an optional and a possibly undefined member, when its schema is made, then neither is required', () => {
  const source =
    'export declare const it: { readonly a: bigint; readonly b?: string; readonly c: number | undefined };';

  expect(schemaOf(source)).toEqual({
    type: 'object',
    properties: { a: { type: 'string' }, b: { type: 'string' }, c: { type: 'number' } },
    required: ['a'],
  });
});

test('given a named type that holds itself, when its schema is made, then it is defined once with its comment', () => {
  const source = `
    /** A node. */
    interface Tree {
      /** Above first. */
      readonly children: readonly Tree[];
    }
    export declare const it: { readonly root: Tree };`;

  expect(schemaOf(source)).toEqual({
    type: 'object',
    properties: { root: { $ref: '#/$defs/Tree' } },
    required: ['root'],
    $defs: {
      Tree: {
        description: 'A node.',
        type: 'object',
        properties: { children: { description: 'Above first.', type: 'array', items: { $ref: '#/$defs/Tree' } } },
        required: ['children'],
      },
    },
  });
});

test.each([
  ['a member of type any', '{ readonly a: any }', /any, never, undefined or a symbol/],
  ['a function', '{ readonly a: () => string }', /a function: a/],
])('given %s, when a schema is asked for, then it is refused', (_what, type, reason) => {
  expect(() => schemaOf(`export declare const it: ${type};`)).toThrow(reason);
});
