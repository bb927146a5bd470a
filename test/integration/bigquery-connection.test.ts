import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, expect, test } from 'vitest';

const home = mkdtempSync(join(tmpdir(), 'kpipe-no-credentials-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** In a process of its own: the client's trap is that a missing credential ends the process from within. */
const script = `
  const { connectBigQuery } = await import(${JSON.stringify(new URL('../../src/lib/bigquery/connection.ts', import.meta.url).href)});
  const config = { project: 'shop-test', dataset: 'analytics', table: 'events', write: 'storage' };
  await connectBigQuery(config).then(
    () => console.log(JSON.stringify({ code: null })),
    ({ code, message, next }) => console.log(JSON.stringify({ code, message, next })),
  );
`;

async function connectWith(
  env: Readonly<Record<string, string>>,
): Promise<{ code: string | null; message: string; next: string }> {
  const environment = { PATH: process.env['PATH'], HOME: home, KPIPE_TEST_RUN: process.env['KPIPE_TEST_RUN'], ...env };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: environment,
  });
  return JSON.parse(stdout);
}

test('without credentials and without an endpoint, one clear line says how to get either', async () => {
  const failure = await connectWith({});
  expect(failure.code).toBe('KPIPE_BIGQUERY_NO_CREDENTIALS');
  expect(failure.message).toBe('no Google credentials for project shop-test: none are set up here');
  expect(failure.next).toContain('gcloud auth application-default login');
  expect(failure.next).toContain('kpipe sandbox up');
});

test('a credentials file that is not there is named', async () => {
  const failure = await connectWith({ GOOGLE_APPLICATION_CREDENTIALS: join(home, 'key.json') });
  expect(failure.code).toBe('KPIPE_BIGQUERY_NO_CREDENTIALS');
  expect(failure.message).toContain('key.json');
});
