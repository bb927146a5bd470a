#!/usr/bin/env node
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > 22 || (major === 22 && minor >= 12)) {
  const { start } = await import('../dist/cli/start.js');
  await start(import.meta.url);
} else {
  // Too old to run kpipe: a checkout has a newer Node among its packages.
  const own = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(own)) {
    console.error(`kpipe needs Node 22.12 or newer; this is ${process.versions.node}`);
    process.exit(2);
  }
  const child = spawnSync(own, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(child.status ?? 1);
}
