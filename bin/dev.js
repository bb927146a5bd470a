#!/usr/bin/env node
// Compiles what has changed, then runs it with its commands and help as they are now, not as last generated.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

// Below a launcher the compiling is done already.
if (process.env.KPIPE_LAUNCHER === undefined) {
  const build = fileURLToPath(new URL('../scripts/build.mjs', import.meta.url));
  const { status } = spawnSync(process.execPath, [build, '--compile-only'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) {
    process.exit(status ?? 1);
  }
}
const { launch } = await import('../dist/cli/launch.js');
await launch(import.meta.url, { development: true });
