import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, onTestFailed, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const kafka = new kafkajs.Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-lag',
  logLevel: kafkajs.logLevel.NOTHING,
  // A topic that was just made is not known to every broker yet; under NODE_ENV=test kafkajs hardly tries again by itself.
  retry: { retries: 10 },
});
const admin = kafka.admin();
const topic = uniqueTopic('lag-cli');
const group = uniqueTopic('lag-cli-group');
const records = 40;
const read = 15;

beforeAll(async () => {
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }], waitForLeaders: true });
  await topicsEverywhere(loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka, [topic]);
  const producer = kafka.producer();
  await producer.connect();
  const timestamp = String(Date.now() - 3_600_000);
  await producer.send({
    topic,
    messages: Array.from({ length: records }, (_, index) => ({ value: `record ${index}`, timestamp })),
  });
  await producer.disconnect();
  await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: String(read) }] });
});

afterAll(async () => {
  await admin.deleteGroups([group]);
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
});

const lag = (...args: readonly string[]) => kpipe(['lag', '--config', servers.config, '--group', group, ...args]);

interface Document {
  readonly roles: readonly Readonly<Record<string, unknown>>[];
  readonly problems: readonly unknown[];
  readonly cost: { readonly requests: number; readonly ms: number };
}

describe('kpipe lag', () => {
  test('prints one JSON document: offsets as text, times in ms, exit 0', async () => {
    const { code, stdout, stderr } = await lag('--json', '--for', '0s');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const document = JSON.parse(stdout) as Document;
    expect(Object.keys(document)).toEqual([
      'observedAt',
      'clusterId',
      'roles',
      'notes',
      'cost',
      'problems',
      'unjudged',
    ]);
    expect(document.cost).toEqual({ requests: expect.any(Number) as number, ms: expect.any(Number) as number });
    expect(document.cost.requests).toBeGreaterThan(0);
    expect(document.roles).toHaveLength(1);
    expect(document.roles[0]).toMatchObject({
      role: null,
      group,
      protocol: 'classic',
      state: 'Empty',
      members: 0,
      lagRecords: records - read,
      timeLagMethod: 'record',
      inPerSec: null,
      drainMs: null,
      status: 'stop',
      partitions: [
        {
          topic,
          partition: 0,
          committedOffset: String(read),
          position: String(read),
          highWatermark: String(records),
          logStartOffset: '0',
        },
      ],
    });
    expect(document.roles[0]?.['timeLagMs']).toBeGreaterThanOrEqual(3_600_000);
  });

  test('prints a table for people', async () => {
    const { code, stdout } = await lag();
    expect(code).toBe(0);
    const [titles, line, reason] = stdout.split('\n');
    expect(titles?.split(/ +/)).toEqual([
      'ROLE',
      'GROUP',
      'STATE',
      'LAG',
      'TIME',
      'IN/s',
      'OUT/s',
      'DRAIN',
      'LOSS-IN',
      'STATUS',
    ]);
    expect(line).toMatch(new RegExp(`^– +${group} +Empty +25 +1h(\\d+[ms])? +0 +0 +never +6d22h +ERR STOP 1/1$`));
    expect(reason).toMatch(new RegExp(`^! ${group}: partition ${topic}-0: no member reads it, unread for 1h`));
  });

  test('exits 3 when a condition of --fail-on holds, 0 when none does', async () => {
    const failed = await lag('--for', '0s', '--json', '--fail-on', 'time>30m,lag>1000');
    expect(failed.code).toBe(3);
    expect((JSON.parse(failed.stdout) as Document).problems).toEqual([
      { role: null, group, condition: 'time>30m', actual: expect.stringMatching(/^1h/) as unknown },
    ]);
    expect((await lag('--for', '0s', '--fail-on', 'time>2h,lag>1000,loss<1d')).code).toBe(0);
  });

  test('--check exits 3 by kpipe.yaml’s alerts, and says which', async () => {
    const { code, stdout } = await lag('--for', '0s', '--json', '--check');
    expect(code).toBe(3);
    expect((JSON.parse(stdout) as Document).problems).toContainEqual({
      role: null,
      group,
      condition: 'time>5m',
      actual: expect.stringMatching(/^1h/) as unknown,
    });
  });

  test('says on stderr which conditions it could not judge, and does not fail by them', async () => {
    const { code, stderr } = await lag('--for', '0s', '--fail-on', 'in<1');
    expect(code).toBe(0);
    expect(stderr).toContain(`cannot judge in<1 for ${group}: seen only once`);
  });

  test.each([
    [['--fail-on', 'tme>5m'], 2, 'KPIPE_USAGE --fail-on: not a condition: tme>5m'],
    [['--interval', 'soon'], 2, 'KPIPE_USAGE --interval: soon is not a duration'],
    [['--watch', '--json'], 2, 'KPIPE_USAGE --watch prints many documents'],
    [['evens'], 2, 'KPIPE_USAGE kpipe.yaml has no role evens'],
    [
      ['--group', `${group}-absent`, '--for', '0s'],
      1,
      `KPIPE_GROUP_MISSING there is no consumer group ${group}-absent`,
    ],
  ])('refuses %j with exit %i', async (args, code, message) => {
    const ended = await lag(...args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(message);
    expect(ended.stderr).not.toMatch(/\n\s+at /);
  });
});

describe('kpipe lag --watch without a terminal', () => {
  test('prints a line an interval until its time is over', async () => {
    const { code, stdout } = await lag('--watch', '--interval', '400ms', '--for', '6s');
    expect(code).toBe(0);
    const documents = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Document);
    expect(documents.length).toBeGreaterThanOrEqual(2);
    expect(documents.map(({ roles }) => roles[0]?.['lagRecords'])).toEqual(documents.map(() => 25));
    expect(documents[0]?.roles[0]?.['inPerSec']).toBeNull();
    expect(documents.at(-1)?.roles[0]?.['inPerSec']).toBe(0);
  });

  test('ends at SIGTERM', async () => {
    const running = runProgram(
      process.execPath,
      [`${root}bin/run.js`, 'lag', '--config', servers.config, '--group', group, '--watch', '--interval', '300ms'],
      { cwd: root },
    );
    await running.shows(/"observedAt".*\n.*"observedAt"/);
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(130);
  });

  test('goes on with an error document a look while no broker answers', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kpipe-lag-'));
    const file = join(directory, 'kpipe.yaml');
    writeFileSync(file, readFileSync(servers.config, 'utf8').replace(/^ {2}brokers: .*$/m, '  brokers: [127.0.0.1:1]'));
    const args = ['lag', '--config', file, '--group', group, '--watch', '--interval', '200ms'];
    const running = runProgram(process.execPath, [`${root}bin/run.js`, ...args], { cwd: root });
    await running.shows(/"error".*\n.*"error".*\n/);
    running.child.kill('SIGTERM');
    const { code, stdout } = await running.ended;
    rmSync(directory, { recursive: true });
    expect(code).toBe(130);
    const errors = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { readonly error: { readonly code: string } }).error.code);
    expect(errors.length).toBeGreaterThanOrEqual(2);
    expect(new Set(errors)).toEqual(new Set(['KPIPE_KAFKA_UNREACHABLE']));
  });
});

const hasTmux = spawnSync('tmux', ['-V']).status === 0;

describe.runIf(hasTmux)('kpipe lag --watch on a terminal', () => {
  const socket = uniqueTopic('kpipe-lag');
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-tmux-'));
  const written = join(directory, 'written');

  const tmux = (...args: readonly string[]): string =>
    spawnSync('tmux', ['-L', socket, ...args], { encoding: 'utf8' }).stdout;
  const screen = (): string => tmux('capture-pane', '-p', '-t', 'lag');
  const shows = (pattern: RegExp): Promise<void> =>
    vi.waitFor(() => expect(screen()).toMatch(pattern), { timeout: 60_000, interval: 100 });
  /** How often a sequence of the terminal's was written so far. */
  const count = (sequence: string): number => readFileSync(written, 'latin1').split(sequence).length - 1;

  beforeAll(async () => {
    tmux('-f', '/dev/null', 'new-session', '-d', '-s', 'lag', '-x', '110', '-y', '12', 'sh');
    tmux('pipe-pane', '-t', 'lag', `cat > ${written}`);
    tmux('send-keys', '-t', 'lag', "PS1='ready> '; clear", 'Enter');
    await shows(/^ready>/m);
  });

  afterAll(() => {
    tmux('kill-server');
    rmSync(directory, { recursive: true });
  });

  async function watch(options = '', env = ''): Promise<number> {
    // A screen that a failed test has left is no other test's. A shell that is slow to take it forgets what is typed next.
    onTestFailed(() => void press('C-c'));
    const run = `${env} ${process.execPath} ${options} ${root}bin/run.js lag --config ${servers.config} --group ${group} --watch --interval 300ms`;
    tmux('send-keys', '-t', 'lag', `clear; ${run} & echo pid $!; fg %1 >/dev/null; echo ended $?`, 'Enter');
    await shows(new RegExp(`› –? *${group} +Empty +25 +1h`));
    const shell = tmux('display-message', '-p', '-t', 'lag', '#{pane_pid}').trim();
    const children = spawnSync('ps', ['--ppid', shell, '-o', 'pid='], { encoding: 'utf8' }).stdout;
    return Number(children.trim().split(/\s+/).at(-1));
  }
  const press = (...keys: readonly string[]): string => tmux('send-keys', '-t', 'lag', ...keys);
  const resize = (columns: number, rows: number): string =>
    tmux('resize-window', '-t', 'lag', '-x', String(columns), '-y', String(rows));
  const lastIndex = (sequence: string): number => readFileSync(written, 'latin1').lastIndexOf(sequence);
  /** Back on the screen that the shell had, with its cursor. */
  const expectRestored = (): void => {
    expect(screen()).not.toContain('kpipe lag  ');
    expect(count('\u001b[?1049l')).toBe(count('\u001b[?1049h'));
    expect(lastIndex('\u001b[?25h')).toBeGreaterThan(lastIndex('\u001b[?25l'));
  };

  test('draws, follows the size and the keys without clearing the screen, and restores it on q', async () => {
    await watch();
    const erased = /\u001b\[[0-3]?J/g;
    const cleared = (): number => readFileSync(written, 'latin1').match(erased)?.length ?? 0;
    const clearedAtFirst = cleared();
    press('Enter');
    await shows(new RegExp(`› ${topic} +0 +15 +40 +25`));
    press('Escape');
    await shows(/LAG OVER TIME[^]*▁?█{4}/);
    expect(cleared()).toBe(clearedAtFirst);
    resize(60, 10);
    await vi.waitFor(() => expect(screen()).not.toContain('LAG OVER TIME'), { timeout: 60_000 });
    await shows(/ q( quit)?$/m);
    press('q');
    await shows(/^ended 0$/m);
    expectRestored();
  });

  test('each key opens its view, at any size, without garbage', async () => {
    resize(110, 24);
    await watch();
    press('t');
    await shows(new RegExp(`\\[t topics\\]`));
    press('/');
    press('-l', topic);
    press('Enter');
    await shows(new RegExp(`› ${topic} +1 +0 +0 B`));
    press('Enter');
    await shows(new RegExp(`shop › ${topic}[^]*PARTITION +LEADER`));
    press('b');
    // What is wrong with brokers is not for this test: another one may be filling their disks.
    await shows(/cluster \S+ {2}controller \d[^]*› +1 +127\.0\.0\.1:\d+ /);
    await shows(/^. brokers 3\/3 controller \d .*· {2}. replica1 .* · {2}no backups configured/m);
    press('Enter');
    await shows(/shop › broker 1[^]*LOG DIRECTORY/);
    press('l');
    await shows(/from Kafka’s timestamp until the batch is durable[^]*not known: no address/);
    press('r');
    await shows(/PARTITIONS READ[^]*✓ redis/);
    press('c');
    await shows(new RegExp(`shop › ${group}[^]*LAG 25 records[^]*25 ┤`));
    for (const [columns, rows] of [
      [60, 15],
      [250, 80],
      [80, 24],
    ] as const) {
      resize(columns, rows);
      await vi.waitFor(
        () => {
          const lines = screen().trimEnd().split('\n');
          expect(lines).toHaveLength(rows);
          expect(lines[0]).toMatch(/^kpipe lag {2}shop › /);
          expect(lines.filter((line) => line.startsWith('kpipe lag'))).toHaveLength(1);
          expect(lines.filter((line) => line.includes('[c charts]'))).toHaveLength(1);
          expect(lines.at(-1)).toMatch(/ q( quit)?$/);
        },
        { timeout: 60_000 },
      );
    }
    press('q');
    await shows(/^ended 0$/m);
    expectRestored();
  });

  test('the active probe is sent when it is asked for, and its topic is gone afterwards', async () => {
    resize(110, 24);
    await watch();
    press('l');
    await shows(/a 20 probes at 20\/s through a topic that is made and deleted again/);
    press('a');
    await vi.waitFor(() => expect(screen()).toMatch(/probes through a topic of its own[^]*consume +p50 +[\d.]+m?s/), {
      timeout: 60_000,
    });
    press('q');
    await shows(/^ended 0$/m);
    // On a cluster that others use, theirs go as well.
    await vi.waitFor(
      async () => expect((await admin.listTopics()).filter((name) => name.startsWith('kpipe.latency.'))).toEqual([]),
      { timeout: 60_000, interval: 500 },
    );
  });

  test('without colours every sign is still there, and no colour is', async () => {
    resize(110, 24);
    const from = readFileSync(written, 'latin1').length;
    await watch('', 'NO_COLOR=1 TERM=xterm-256color');
    await shows(/[✓!✗] brokers 3\/3/);
    press('q');
    await shows(/^ended 0$/m);
    expect(readFileSync(written, 'latin1').slice(from)).not.toMatch(/\u001b\[[\d;]+m.*kpipe lag/);
  });

  test('restores the screen and the cursor at SIGTERM', async () => {
    resize(110, 12);
    process.kill(await watch(), 'SIGTERM');
    await shows(/^ended 130$/m);
    expectRestored();
  });

  test('restores the screen and the cursor at Ctrl-C', async () => {
    await watch();
    press('C-c');
    await shows(/^ended 130$/m);
    expectRestored();
  });

  test('restores the screen and the cursor when it crashes, and says why', async () => {
    process.kill(await watch(`--import ${root}test/support/throw-on-signal.mjs`), 'SIGUSR2');
    await shows(/^ended [1-9]/m);
    await shows(/thrown by the test/);
    expectRestored();
  });
});
