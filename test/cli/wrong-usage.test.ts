import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { kpipe } from '../support/run-kpipe.ts';

/** Nothing listens there: whoever asks the cluster first does not get as far as its own refusal. */
const file = `pipeline: p
kafka: {brokers: [127.0.0.1:1]}
topics: {logs: {partitions: 1}}
roles: {logs: {topic: logs, group: kpipe-logs, sink: postgres, deadLetters: logs.dlq}}
postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}
`;
let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-wrong-usage-'));
  writeFileSync(join(directory, 'kpipe.yaml'), file, { mode: 0o600 });
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

test.each<[args: readonly string[], message: string, next: string]>([
  [['topics', 'plan', '--otu', 'x'], 'there is no flag --otu', 'did you mean --out?'],
  [['topics', 'plan', 'extra'], 'kpipe topics plan takes no argument: extra', 'see --help'],
  [
    ['topics', 'plan', '--output', 'jsno'],
    '--output: jsno is not one of table, json, yaml, ndjson',
    'did you mean json?',
  ],
  [
    ['topics', 'apply', '--batch', '0'],
    '--batch: expected an integer greater than or equal to 1 but received: 0',
    'see --help',
  ],
  [['topics', 'apply', '--retention-pause', '5m'], '--retention-pause needs --retention-steps', 'see --help'],
  [['tail'], 'TOPIC is missing: any topic of the cluster', 'see --help'],
  [['tail', 'a b'], '"a b" is no topic\'s name', 'write letters, digits, ".", "_" and "-", at most 249'],
  [['topics', 'describe', ''], '"" is no topic\'s name', 'write letters, digits, ".", "_" and "-", at most 249'],
  [['replay', 'logs'], '--to is missing', 'see --help'],
  [['replay', 'nowhere', '--to', 'earliest'], 'kpipe.yaml has no role nowhere', 'it has: logs'],
  [['lag', '--group', ''], '--group: a group has a name', '`kpipe groups list` shows what there is'],
  [['lag', '--watch', '--fail-on', 'lag>1'], '--watch and --fail-on exclude each other', 'see --help'],
  [
    ['lag', '--watch', '--metrics', 'nonsense'],
    '--metrics: nonsense is not an address such as http://10.0.0.1:9464',
    'name what `kpipe consume ROLE --metrics-port` serves',
  ],
])(
  'given %j, when it is refused, then exit 2 with what is wrong and what to do, on stderr only',
  async (args, message, next) => {
    const ended = await kpipe(args, { cwd: directory });

    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toBe(`KPIPE_USAGE ${message}\n  next:  ${next}\n`);
  },
);

test('given --json, when the command line is refused, then stdout holds the one document that says so', async () => {
  const ended = await kpipe(['topics', 'plan', '--otu', 'x', '--json'], { cwd: directory });

  expect(ended.code).toBe(2);
  expect(JSON.parse(ended.stdout)).toEqual({
    error: {
      code: 'KPIPE_USAGE',
      message: 'there is no flag --otu',
      where: {},
      next: 'did you mean --out?',
      exitCode: 2,
    },
  });
});
