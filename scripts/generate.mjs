// Writes what is made from the code: `node scripts/generate.mjs [--check] [manifest|help|docs|schemas …]`.
// With --check it writes nothing, names the committed files that are stale, and fails. Needs a build (dist/) before.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The help is written down with its bold headings, and plain where it is not shown on a terminal. Read when oclif is imported.
process.env.FORCE_COLOR = '1';
delete process.env.NO_COLOR;

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * A generator returns the files it makes, by their path. `committed` ones are compared; `owns` is a folder in which nothing
 * else may be.
 * @type {Record<string, {committed: boolean, owns?: string, files: () => Promise<Record<string, string>>}>}
 */
const generators = {
  manifest: {
    committed: true,
    files: async () => {
      const { renderManifest } = await import('./generate/manifest.mjs');
      return { 'oclif.manifest.json': await renderManifest(root) };
    },
  },
  help: {
    committed: false,
    files: async () => {
      const { renderHelp } = await import('./generate/help.mjs');
      return { 'dist/help.json': `${JSON.stringify(await renderHelp(root))}\n` };
    },
  },
  docs: {
    committed: true,
    files: async () => {
      const { renderCommandDocs } = await import('./generate/docs.mjs');
      return { 'docs/commands.md': await renderCommandDocs(root) };
    },
  },
  schemas: {
    committed: true,
    owns: 'schemas',
    files: async () => {
      const { renderSchemas } = await import('./generate/schemas.mjs');
      return renderSchemas(root);
    },
  },
};

function orphansOf(folder, files) {
  const directory = join(root, folder);
  return existsSync(directory)
    ? readdirSync(directory)
        .map((name) => `${folder}/${name}`)
        .filter((path) => !(path in files))
    : [];
}

function currentText(path) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** Paths whose content is not what the code makes. */
function staleOf(generator, files) {
  const changed = Object.keys(files).filter((path) => currentText(path) !== files[path]);
  return [...changed, ...(generator.owns === undefined ? [] : orphansOf(generator.owns, files))];
}

function write(generator, files) {
  for (const path of staleOf(generator, files)) {
    const file = join(root, path);
    if (path in files) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, files[path]);
      console.log(`wrote ${path}`);
    } else {
      rmSync(file);
      console.log(`removed ${path}`);
    }
  }
}

const check = process.argv.includes('--check');
const names = process.argv.slice(2).filter((argument) => argument !== '--check');
const unknown = names.filter((name) => !(name in generators));
if (unknown.length > 0) {
  console.error(`no generator ${unknown.join(', ')}: there is ${Object.keys(generators).join(', ')}`);
  process.exit(2);
}
const stale = [];
for (const [name, generator] of Object.entries(generators)) {
  if ((names.length === 0 || names.includes(name)) && (!check || generator.committed)) {
    const files = await generator.files();
    if (check) {
      stale.push(...staleOf(generator, files));
    } else {
      write(generator, files);
    }
  }
}
if (stale.length > 0) {
  console.error(`stale: ${stale.join(', ')}\nrun npm run generate and commit what it writes`);
  process.exitCode = 1;
}
