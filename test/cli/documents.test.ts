import { expect, inject, test } from 'vitest';

import { strayMembers } from '../support/documents.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram } from '../support/run-kpipe.ts';

/** What commands that only look print under --json, held against the schema that is generated from their types. */
const servers = inject('servers');
const directory = pipelineDirectory();
const file = directory.write(`pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n`, 'kpipe.yaml');

test.each([
  ['topics list', ['--internal']],
  ['topics import', []],
  ['groups list', []],
  ['brokers', []],
  ['replay history', []],
  ['context list', []],
  ['context show', []],
  ['topics plan', []],
])('given %s --json, then its document is what its schema says, and nothing else', async (command, flags) => {
  const ended = await kpipe([...command.split(' '), '--json', '-c', file, ...flags], directory.options);

  expect({ code: ended.code, stderr: ended.stderr }).toMatchObject({ code: 0 });
  expect(strayMembers(command, JSON.parse(ended.stdout))).toEqual([]);
});

test.each([
  ['brokers', ['--interval', '200ms']],
  ['lag', ['--group', 'nobody', '--interval', '200ms']],
])('given %s --watch into a pipe, when its reader leaves, then it ends by itself', async (command, flags) => {
  const running = runProgram(
    process.execPath,
    [`${root}bin/run.js`, command, '--watch', '-c', file, ...flags],
    directory.options,
  );
  await running.shows(/\n/);
  running.child.stdout.destroy();

  expect(await running.ended).toMatchObject({ code: 0, signal: null });
});
