import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { SandboxPaths } from './directory.ts';
import type { ProcessSpec } from './processes.ts';
import { writeAtomically } from './state.ts';
import type { SandboxTools } from './tools.ts';
import type { SandboxState } from './types.ts';

/** Nothing lives only in Redis, so a snapshot at a clean stop is enough. */
export function redisSettings(state: SandboxState, directory: string): string {
  return `bind 127.0.0.1
port ${state.ports.redis}
protected-mode yes
daemonize no
dir "${directory}"
save 900 1
appendonly no
maxmemory 256mb
maxmemory-policy volatile-lru
`;
}

export function prepareRedis(paths: SandboxPaths, state: SandboxState): void {
  const directory = join(paths.data, 'redis');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeAtomically(join(paths.conf, 'redis.conf'), redisSettings(state, directory), 0o600);
}

export function redisSpec(paths: SandboxPaths, tools: SandboxTools): ProcessSpec {
  const directory = join(paths.data, 'redis');
  return {
    name: 'redis',
    file: tools.redis.server,
    args: [join(paths.conf, 'redis.conf')],
    workingDirectory: directory,
    environment: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', TZ: 'UTC', HOME: directory },
    user: undefined,
  };
}
