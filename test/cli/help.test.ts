import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

import { Config, type Command } from '@oclif/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { measureStartup } from '../../bench/startup.mjs';
import { renderHelp } from '../../scripts/generate/help.mjs';
import { kpipe, root } from '../support/run-kpipe.ts';

/** The packages that a command may load only once it runs. */
const heavy =
  /\/node_modules\/(ink|react|kafkajs|@platformatic|pg|ioredis|@google-cloud|google-gax|@grpc|protobufjs)\//;

let directory = '';
let commands: readonly Command.Loadable[] = [];
let config: Config;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-help-'));
  config = await Config.load({ root, ignoreManifest: true });
  ({ commands } = config);
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function plain(texts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(texts).map(([subject, text]) => [subject, stripVTControlCharacters(text)]));
}

/** The modules that a run of kpipe loads, in order. */
async function loadedModules(args: readonly string[]): Promise<readonly string[]> {
  const trace = join(directory, 'trace');
  rmSync(trace, { force: true });
  const hooks = pathToFileURL(join(root, 'test/support/trace-modules.mjs')).href;
  await kpipe(args, { env: { ...process.env, NODE_OPTIONS: `--import ${hooks}`, KPIPE_TEST_TRACE: trace } });
  return readFileSync(trace, 'utf8').trim().split('\n');
}

describe('the help that the build wrote', () => {
  test('given every command and topic, when oclif renders their help now, then it is what kpipe prints', async () => {
    const written = JSON.parse(readFileSync(join(root, 'dist/help.json'), 'utf8')) as Record<string, string>;

    expect(plain(written)).toEqual(plain(await renderHelp(root)));
    expect(Object.keys(written)).toEqual(
      expect.arrayContaining(['', ...commands.map(({ id }) => id.replaceAll(':', ' '))]),
    );
  });

  test.each([[[]], [['topics']], [['topics', 'plan']]])(
    'given %j, when help is asked for in a way that only oclif reads, then the text is the same',
    async (words) => {
      const written = await kpipe([...words, '--help']);
      const rendered = await kpipe([...words, '--json', '--help']);

      expect(written).toMatchObject({ code: 0, stderr: '' });
      expect(written.stdout).toContain('USAGE');
      expect(rendered).toEqual(written);
    },
  );

  test('given a terminal that is asked for colour, when help is printed, then headings are bold and the text is the same', async () => {
    const coloured = await kpipe(['--help'], { env: { ...process.env, NO_COLOR: undefined, FORCE_COLOR: '1' } });
    const uncoloured = await kpipe(['--help']);

    expect(coloured.stdout).toContain('\u001b[1mUSAGE\u001b[22m');
    expect(stripVTControlCharacters(coloured.stdout)).toBe(uncoloured.stdout);
  });

  test.each([[['-h']], [['help']], [[]]])('given %j, when kpipe is run, then it shows its help', async (args) => {
    expect((await kpipe(args)).stdout).toBe((await kpipe(['--help'])).stdout);
  });
});

describe('what starting loads', () => {
  test('given --help, when kpipe starts, then it loads a few files of its own and no package', async () => {
    const modules = (await loadedModules(['--help'])).filter((url) => url.startsWith('file:'));

    expect(modules.map((url) => url.slice(url.lastIndexOf('/') + 1)).toSorted()).toEqual([
      'debug.js',
      'help-request.js',
      'launch.js',
      'launcher.js',
      'run.js',
      'start.js',
    ]);
  });

  test('given every command, when its flags are wrong, then neither a driver nor Ink was loaded to say so', async () => {
    const loaded: string[] = [];
    for (const { id } of commands) {
      const modules = await loadedModules([...id.split(':'), '--no-such-flag']);
      const file = `/dist/commands/${id.replaceAll(':', '/')}`;
      expect(modules.some((url) => url.endsWith(`${file}.js`) || url.endsWith(`${file}/index.js`))).toBe(true);
      loaded.push(...modules.filter((url) => heavy.test(url)).map((url) => `${id}: ${url}`));
    }

    expect(loaded).toEqual([]);
    // As many processes as there are commands.
  }, 900_000);

  test('given node -e 0, when kpipe --help is run beside it, then it takes less than 2.5 times as long', () => {
    // The best of three: what else a machine does comes and goes, and a program that loads more stays slow.
    const ratios = [1, 2, 3].map(() => {
      const { 'node -e 0': bare, 'kpipe --help': help } = measureStartup(7, ['node -e 0', 'kpipe --help']);
      return help.wallMs / bare.wallMs;
    });

    expect(Math.min(...ratios)).toBeLessThan(2.5);
  });
});

describe('the texts of the house', () => {
  /** Names that begin with a capital wherever they stand. */
  const names =
    /^(Kafka|PostgreSQL|Redis|BigQuery|JSON|KPIPE_|HTTP|SQL|TCP|XDG|ISO|CloudEvents|Prometheus|Nagios|Burrow|Ctrl)/;

  function textsOf(command: Command.Loadable): readonly (readonly [string, string])[] {
    const described = [...Object.entries(command.flags), ...Object.entries(command.args)].map(
      ([name, { description }]) => [`${command.id} ${name}`, description ?? ''] as const,
    );
    return [[command.id, command.summary ?? command.description ?? ''], ...described];
  }

  test('given every command, argument and flag, when its text is read, then it is lower case and has no full stop', () => {
    const wrong = commands
      .flatMap(textsOf)
      .filter(([, text]) => text === '' || text.endsWith('.') || (/^[A-Z]/.test(text) && !names.test(text)));

    expect(wrong).toEqual([]);
  });

  test('given every command, when its help is read, then it has an example, and options in it are long', () => {
    const wrong = commands
      .map(({ id, examples = [] }) => ({
        id,
        text: examples.map((example) => (typeof example === 'string' ? example : example.command)).join('\n'),
      }))
      .filter(({ text }) => text === '' || /\s-[a-zA-Z]\b/.test(text))
      .map(({ id }) => id);

    expect(wrong).toEqual([]);
  });

  test('given every topic, when its help is read, then package.json describes it, and describes no other', () => {
    const used = new Set(
      commands.filter(({ id }) => id.includes(':')).map(({ id }) => id.slice(0, id.lastIndexOf(':'))),
    );

    expect(new Set(Object.keys(config.pjson.oclif.topics ?? {}))).toEqual(used);
  });
});

describe('a command that does not exist', () => {
  test.each([
    [['topics', 'plam'], 'topics plam', 'did you mean kpipe topics plan?'],
    [['contex', '--help'], 'contex', 'did you mean kpipe context?'],
    [['xyzzy', 'a', '--flag'], 'xyzzy a', 'kpipe --help lists the commands'],
  ])('given %j, when it is run, then it is refused as wrong usage with the nearest name', async (args, typed, next) => {
    const { code, stdout, stderr } = await kpipe(args);

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(`KPIPE_USAGE there is no command "${typed}"\n  next:  ${next}\n`);
  });

  test('given --json, when it is run, then stdout holds exactly the error document', async () => {
    const { code, stdout } = await kpipe(['lga', '--json']);

    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'KPIPE_USAGE',
        message: 'there is no command "lga"',
        where: {},
        next: 'did you mean kpipe lag?',
        exitCode: 2,
      },
    });
  });
});
