/**
 * The layers' rules that the linter cannot see: imports by `await import()`, what a command loads before it runs, and names of
 * files. The rules for static imports are in oxlint.config.ts.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));

interface Import {
  readonly specifier: string;
  readonly kind: 'static' | 'dynamic' | 'type';
}

interface SourceFile {
  /** From the root, such as `src/lib/errors.ts`. */
  readonly path: string;
  readonly imports: readonly Import[];
}

const staticImport = /^(?:import\s+|(?:import|export)\s+(type\s)?[^'";=]*?\sfrom\s+)'([^']+)'/gm;
const dynamicImport = /\bimport\(\s*'([^']+)'/g;

/** The imports of a file's text. `typeof import('x')` is a type. */
function importsOf(text: string): readonly Import[] {
  const statics = [...text.matchAll(staticImport)].map(([, type, specifier = '']): Import => ({
    specifier,
    kind: type === undefined ? 'static' : 'type',
  }));
  const dynamics = [...text.matchAll(dynamicImport)].map(({ 1: specifier = '', index }): Import => ({
    specifier,
    kind:
      /await\s*$|=>\s*$|return\s*$|[[(,]\s*$|=\s*$/.test(text.slice(Math.max(0, index - 20), index)) &&
      !/typeof\s*$/.test(text.slice(0, index))
        ? 'dynamic'
        : 'type',
  }));
  return [...statics, ...dynamics];
}

const files: readonly SourceFile[] = globSync('src/**/*.{ts,tsx}', { cwd: root })
  .toSorted()
  .map((path) => ({ path, imports: importsOf(readFileSync(join(root, path), 'utf8')) }));

const byPath = new Map(files.map((file) => [file.path, file]));

/** The file of src that an import names, or undefined for a package. */
function target(from: SourceFile, { specifier }: Import): SourceFile | undefined {
  return specifier.startsWith('.') ? byPath.get(relative(root, join(root, dirname(from.path), specifier))) : undefined;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function layerOf(path: string): string {
  return path.split('/')[1] ?? '';
}

/** Packages that are loaded as soon as the file is, each with the files that lead to it. */
function loadedPackages(start: SourceFile): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  const visit = (file: SourceFile, way: readonly string[]): void => {
    if (seen.has(file.path)) {
      return;
    }
    seen.add(file.path);
    for (const imported of file.imports.filter(({ kind }) => kind === 'static')) {
      const next = target(file, imported);
      if (next !== undefined) {
        visit(next, [...way, next.path]);
      } else if (!imported.specifier.startsWith('.') && !found.has(packageOf(imported.specifier))) {
        found.set(packageOf(imported.specifier), way);
      }
    }
  };
  visit(start, [start.path]);
  return found;
}

const edges: Readonly<Record<string, readonly string[]>> = {
  kafka: ['kafkajs', '@platformatic/kafka', '@node-rs/crc32', 'snappy', 'lz4-napi'],
  postgres: ['pg', 'pg-copy-streams'],
  redis: ['ioredis'],
  bigquery: ['@google-cloud/bigquery', '@google-cloud/bigquery-storage', 'protobufjs', 'google-gax', '@grpc/grpc-js'],
  s3: ['@aws-sdk/client-s3'],
};
const drivers = Object.values(edges).flat();
const screens = ['ink', 'react', 'cli-table3', 'chalk', '@oclif/core'];

/** The one file besides the edges that speaks to servers itself: it looks whether they are ready. */
const ownProbe = 'src/lib/sandbox/health.ts';

describe('the reader of imports', () => {
  test('given every form of an import, when a text is read, then each is found with its kind', () => {
    const text = [
      "import 'a';",
      "import b, { type B } from 'b';",
      "import type { C } from 'c';",
      "import {\n  d,\n} from '../d.ts';",
      "export { e } from './e.ts';",
      "type F = typeof import('f');",
      "const { g } = await import('g');",
      "const h = () => import('h');",
      "const [i] = await Promise.all([import('i')]);",
    ].join('\n');

    expect(importsOf(text)).toEqual([
      { specifier: 'a', kind: 'static' },
      { specifier: 'b', kind: 'static' },
      { specifier: 'c', kind: 'type' },
      { specifier: '../d.ts', kind: 'static' },
      { specifier: './e.ts', kind: 'static' },
      { specifier: 'f', kind: 'type' },
      { specifier: 'g', kind: 'dynamic' },
      { specifier: 'h', kind: 'dynamic' },
      { specifier: 'i', kind: 'dynamic' },
    ]);
  });

  test('given the sources, when their relative imports are followed, then every one names a file', () => {
    const dangling = files.flatMap((file) =>
      file.imports
        .filter(({ specifier }) => specifier.startsWith('.'))
        .filter(({ specifier }) => !existsSync(join(root, dirname(file.path), specifier)))
        .map(({ specifier }) => `${file.path}: ${specifier}`),
    );

    expect(files.length).toBeGreaterThan(20);
    expect(dangling).toEqual([]);
  });
});

describe('the layers', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    commands: ['commands', 'cli', 'ui', 'lib'],
    cli: ['cli', 'lib'],
    ui: ['ui', 'lib'],
    lib: ['lib'],
  };
  /** What it fills are the models that screens draw. */
  const types: Readonly<Record<string, readonly string[]>> = { cli: ['ui'] };

  function mayKnow(from: string, to: string, kind: Import['kind']): boolean {
    return (allowed[from] ?? []).includes(to) || (kind === 'type' && (types[from] ?? []).includes(to));
  }

  test('given every import, also those made later, when its layer is looked at, then it is one that it may know', () => {
    const wrong = files.flatMap((file) =>
      file.imports
        .map((imported) => ({ kind: imported.kind, path: target(file, imported)?.path }))
        .filter(({ path, kind }) => path !== undefined && !mayKnow(layerOf(file.path), layerOf(path), kind))
        .map(({ path }) => `${file.path} → ${path}`),
    );

    expect(wrong).toEqual([]);
  });

  test('given a driver or a screen library, when lib imports it, also later, then only the edge that owns it does', () => {
    const wrong = files
      .filter(({ path }) => layerOf(path) === 'lib' && path !== ownProbe)
      .flatMap(({ path, imports }) => {
        const own = edges[path.split('/')[2] ?? ''] ?? [];
        return imports
          .map(({ specifier }) => packageOf(specifier))
          .filter((name) => [...drivers, ...screens].includes(name) && !own.includes(name))
          .map((name) => `${path} → ${name}`);
      });

    expect(wrong).toEqual([]);
  });

  test('given a command, when it is loaded to show its help or parse its flags, then no driver and no Ink is loaded', () => {
    const commands = files.filter(({ path }) => layerOf(path) === 'commands');
    const heavy = commands.flatMap((command) =>
      [...loadedPackages(command)]
        .filter(([name]) => [...drivers, 'ink', 'react'].includes(name))
        .map(([name, way]) => `${name}: ${way.join(' → ')}`),
    );

    expect(commands.length).toBeGreaterThan(0);
    expect(heavy).toEqual([]);
  });

  test('given the sources, when they are named, then no file or folder is a drawer for anything', () => {
    const drawers = /^(utils?|helpers?|common|misc|shared)$/;

    expect(
      files
        .map(({ path }) => path)
        .filter((path) => path.split('/').some((part) => drawers.test(basename(part).replace(/\.tsx?$/, '')))),
    ).toEqual([]);
  });
});
