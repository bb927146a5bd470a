import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';

import type { SandboxStatus } from '../../src/lib/sandbox/types.ts';
import { kpipe } from '../support/run-kpipe.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-cli-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const sandbox = (...args: readonly string[]): ReturnType<typeof kpipe> =>
  kpipe(['sandbox', ...args], { env: { ...process.env, KPIPE_SANDBOX_DIR: directory } });

describe('kpipe sandbox', () => {
  it('shows every server of a running sandbox, and exits 0 under --check', async () => {
    const { sandboxDirectory } = inject('servers');
    const env = { ...process.env, KPIPE_SANDBOX_DIR: sandboxDirectory };

    // On a machine that is busy a server may miss a probe.
    const status = await vi.waitFor(
      async () => {
        const table = await kpipe(['sandbox', 'status', '--check'], { env });
        const json = await kpipe(['sandbox', 'status', '--json'], { env });
        expect(table).toMatchObject({ code: 0, stderr: '' });
        expect(table.stdout).toMatch(/^postgres-replica1\s+ready\s+127\.0\.0\.1:\d+/m);
        const seen = JSON.parse(json.stdout) as SandboxStatus;
        expect(seen).toMatchObject({ state: 'up', brokers: 3, directory: sandboxDirectory });
        return seen;
      },
      { timeout: 150_000, interval: 500 },
    );
    expect(status.servers.map((server) => server.name).slice(0, 3)).toEqual(['kafka-1', 'kafka-2', 'kafka-3']);
  });

  it('says that there is none: 0, and 3 under --check', async () => {
    const plain = await sandbox('status');
    const check = await sandbox('status', '--check', '--json');

    expect(plain).toMatchObject({ code: 0, stdout: `no sandbox in ${directory}: kpipe sandbox up starts one\n` });
    expect(check.code).toBe(3);
    expect(JSON.parse(check.stdout)).toEqual({
      directory,
      state: 'absent',
      brokers: null,
      configPath: null,
      servers: [],
    });
  });

  it('stops nothing where nothing runs', async () => {
    expect(await sandbox('down')).toMatchObject({ code: 0, stdout: `nothing was running in ${directory}\n` });
  });

  it('does not delete without a word', async () => {
    const refused = await sandbox('reset');

    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('--yes');
    expect(await sandbox('reset', '--yes')).toMatchObject({ code: 0, stdout: `there is no sandbox in ${directory}\n` });
  });

  it.each([
    ['a port that is none', ['--ports', 'kafka=x'], /not a port: 'kafka=x'/],
    ['a server that is none', ['--ports', 'mysql=3306'], /no server is called 'mysql'/],
    ['a broker count that is none', ['--brokers', '2'], /--brokers/],
  ])('refuses %s with exit 2', async (_, args, message) => {
    const { code, stderr } = await sandbox('up', ...args);

    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
