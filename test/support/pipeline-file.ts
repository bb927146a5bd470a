import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from 'vitest';

/** A directory of one test file's own, for a kpipe.yaml and what is written beside it; deleted at the end. */
export interface PipelineDirectory {
  readonly path: string;
  /** Writes `kpipe.yaml` (or another file) and answers its path. */
  readonly write: (text: string, name?: string) => string;
  /** kpipe reads only what is in it, and keeps its own state in it. */
  readonly options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv };
}

/** Call it at the top level of a test file. */
export function pipelineDirectory(): PipelineDirectory {
  const path = mkdtempSync(join(tmpdir(), 'kpipe-file-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('KPIPE_') || name === 'KPIPE_TEST_RUN');
  return {
    path,
    write: (text, name = 'kpipe.yaml') => {
      const file = join(path, name);
      writeFileSync(file, text);
      return file;
    },
    options: {
      cwd: path,
      env: {
        ...Object.fromEntries(own),
        NO_COLOR: '1',
        XDG_STATE_HOME: join(path, 'state'),
        XDG_CONFIG_HOME: join(path, 'config'),
      },
    },
  };
}
