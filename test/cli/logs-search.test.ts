import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { migrate } from '../../src/lib/postgres/migrate.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';
import { createDatabase } from '../support/servers.ts';

const servers = inject('servers');
const database = await createDatabase();
const directory = mkdtempSync(join(tmpdir(), 'kpipe-logs-'));
const config = configOn('kpipe.yaml', database.url);
const trace = '4bf92f3577b34da6a3ce929d0e0e4736';

/** The sandbox's kpipe.yaml with another database; it holds a password, so nobody else may read it. */
function configOn(name: string, url: string): string {
  const file = join(directory, name);
  writeFileSync(file, readFileSync(servers.config, 'utf8').replace(/^ {2}primary: .*$/m, `  primary: '${url}'`), {
    mode: 0o600,
  });
  return file;
}

interface Stored {
  readonly minutesAgo: number;
  readonly severity: number;
  readonly service: string | null;
  readonly body: string;
  readonly traceId?: string;
  readonly attributes?: string;
}

const stored: readonly Stored[] = [
  {
    minutesAgo: 1,
    severity: 17,
    service: 'checkout',
    body: 'payment declined for order 42\n  at pay (/srv/pay.js:10)\n2026-01-01 FATAL forged',
    traceId: trace,
    attributes: '{"big": 9007199254740993, "price": 1.10}',
  },
  { minutesAgo: 2, severity: 9, service: 'api\u202eevil', body: 'payment accepted \u001b]52;c;cHduZWQ=\u0007\u009b2J' },
  { minutesAgo: 3, severity: 13, service: 'checkout', body: 'slow payment query' },
  { minutesAgo: 300, severity: 13, service: 'checkout', body: 'payment of long ago' },
  { minutesAgo: 4, severity: 0, service: null, body: 'unstructured' },
];

async function withPool(url: string, work: (pool: pg.Pool) => Promise<unknown>): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  try {
    await work(pool);
  } finally {
    await pool.end();
  }
}

beforeAll(async () => {
  await withPool(database.url, async (pool) => {
    await migrate(pool, { projections: [], logRetentionMs: 2 * 86_400_000, nowMs: Date.now(), planOnly: false });
    for (const [offset, line] of stored.entries()) {
      await pool.query(
        `insert into kpipe.logs (ts, observed_ts, kafka_offset, partition, topic, severity_number, service_name, trace_id, body, attributes, resource)
         values ($1, now(), $2, 0, 'logs', $3, $4, $5, $6, $7, '{}')`,
        [
          new Date(Date.now() - line.minutesAgo * 60_000),
          offset,
          line.severity,
          line.service,
          line.traceId ?? null,
          line.body,
          line.attributes ?? '{}',
        ],
      );
    }
  });
});

afterAll(() => rmSync(directory, { recursive: true }));

const search = (...args: readonly string[]) => kpipe(['logs', 'search', '--config', config, ...args]);

async function bodies(...args: readonly string[]): Promise<readonly string[]> {
  const { code, stdout } = await search('--json', ...args);
  expect(code).toBe(0);
  return (JSON.parse(stdout) as { readonly lines: readonly { readonly body: string }[] }).lines.map(
    ({ body }) => body.split('\n')[0]!,
  );
}

describe('kpipe logs search', () => {
  const [declined, accepted, slow, longAgo, plain] = stored.map(({ body }) => body.split('\n')[0]!);

  test.each([
    ['words, newest first', ['payment'], [declined, accepted, slow, longAgo]],
    ['all words', ['payment query'], [slow]],
    ['a phrase', ['"declined for order"'], [declined]],
    ['without a word', ['payment -query'], [declined, accepted, longAgo]],
    ['a service', ['payment', '--service', 'checkout'], [declined, slow, longAgo]],
    ['a severity and above', ['payment', '--severity', 'warn'], [declined, slow, longAgo]],
    ['a time', ['payment', '--severity', 'warn', '--since', '2h'], [declined, slow]],
    ['a trace, without words', ['--trace', trace], [declined]],
    ['everything', [], [declined, accepted, slow, plain, longAgo]],
    ['nothing', ['absent'], []],
  ])('finds by %s', async (_name, args, expected) => {
    expect(await bodies(...args)).toEqual(expected);
  });

  test.each(['&|(((', "it's", '"unclosed', "a:*b'!", 'or or', '\\', '%_$1;--', 'x'.repeat(5000)])(
    'takes %j as a query',
    async (query) => {
      expect(await bodies('--', query)).toEqual([]);
    },
  );

  test('says when a query holds no word', async () => {
    const { code, stdout, stderr } = await search('!!!');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain('the query holds no word');
  });

  test('prints one JSON document, with numbers as they were stored', async () => {
    const { stdout } = await search('declined', '--json', '--since', '1h');
    expect(stdout).toMatch(/"big": 9007199254740993,\s+"price": 1\.10\s/);
    expect(JSON.parse(stdout)).toMatchObject({
      query: 'declined',
      since: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
      more: false,
      lines: [
        {
          ts: expect.stringMatching(/\.\d{6}Z$/) as unknown,
          severity: 'error',
          severityNumber: 17,
          service: 'checkout',
          traceId: trace,
          spanId: null,
          topic: 'logs',
          partition: 0,
          offset: '0',
        },
      ],
    });
  });

  test('says that there is more than the limit', async () => {
    const limited = await search('payment', '--limit', '2', '--json');
    expect(JSON.parse(limited.stdout)).toMatchObject({ more: true, lines: [{ offset: '0' }, { offset: '1' }] });
    expect(limited.stderr).toContain('only the newest 2 lines');
    expect(JSON.parse((await search('payment', '--limit', '4', '--json')).stdout)).toMatchObject({ more: false });
  });

  test('prints nothing raw that a line holds, and no line that a body forges', async () => {
    const { stdout } = await search('payment', '--since', '1h');
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(stdout).toContain(String.raw`api\u{202e}evil`);
    expect(stdout).toContain(String.raw`payment accepted \e]52;c;cHduZWQ=\x07\x9b2J`);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}ERROR {2}checkout +payment declined for order 42 {2}trace 4bf9/,
    );
    expect(lines.slice(1, 3)).toEqual(['    │   at pay (/srv/pay.js:10)', '    │ 2026-01-01 FATAL forged']);
  });
});

describe('without what it needs', () => {
  test('a database without tables names kpipe migrate', async () => {
    const empty = configOn('empty.yaml', database.superuserUrl.replace(/\/[^/]+$/, '/postgres'));
    const { code, stderr } = await kpipe(['logs', 'search', 'x', '--config', empty]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^KPIPE_SCHEMA_MISSING/);
    expect(stderr).toContain('run `kpipe migrate`');
  });

  test('a server that is down is named', async () => {
    const { code, stderr } = await kpipe([
      'logs',
      'search',
      'x',
      '--config',
      configOn('down.yaml', 'postgres://kpipe@127.0.0.1:1/kpipe'),
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^KPIPE_POSTGRES_UNREACHABLE[^]*127\.0\.0\.1:1[^]*next:/);
  });

  test('a server that says nothing is given up', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, stderr } = await kpipe([
      'logs',
      'search',
      'x',
      '--config',
      configOn('silent.yaml', `postgres://kpipe@127.0.0.1:${port}/kpipe`),
    ]);
    silent.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^KPIPE_POSTGRES_UNREACHABLE[^]*127\\.0\\.0\\.1:${port}[^]*next:`));
  });

  test('a search that takes too long is ended by the server and says how to narrow it', async () => {
    const slow = join(directory, 'slow.yaml');
    writeFileSync(slow, readFileSync(config, 'utf8').replace(/statementTimeout: \w+/, 'statementTimeout: 300ms'), {
      mode: 0o600,
    });
    await withLockedLogs(async () => {
      const { code, stderr } = await kpipe(['logs', 'search', 'x', '--config', slow]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^KPIPE_POSTGRES_FAILED the search took longer than 300 ms[^]*--since/);
    });
  });

  test('a search that is interrupted ends at once, also on the server', async () => {
    await withLockedLogs(async (pool) => {
      const running = runProgram(process.execPath, [`${root}bin/run.js`, 'logs', 'search', 'x', '--config', config], {
        cwd: root,
      });
      await waiting(pool, 1);
      running.child.kill('SIGINT');
      expect((await running.ended).code).toBe(130);
      await waiting(pool, 0);
    });
  });

  /** Holds a lock that every search waits for. */
  async function withLockedLogs(work: (pool: pg.Pool) => Promise<void>): Promise<void> {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 });
    const holder = await pool.connect();
    await holder.query('begin; lock table kpipe.logs in access exclusive mode');
    try {
      await work(pool);
    } finally {
      await holder.query('rollback');
      holder.release();
      await pool.end();
    }
  }

  /** Until that many searches wait on the server. */
  async function waiting(pool: pg.Pool, count: number): Promise<void> {
    for (;;) {
      const { rows } = await pool.query<{ readonly n: number }>(
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name = 'kpipe:logs-search' and wait_event_type = 'Lock'`,
      );
      if (rows[0]?.n === count) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});
