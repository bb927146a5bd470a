import { PassThrough } from 'node:stream';

import { expect, test } from 'vitest';

import { startProgress } from '../../../src/cli/output/progress.ts';

test('given long work without a terminal, when it goes on, then a line now and then tells its rate once there is one', () => {
  let nowMs = 0;
  const stream = new PassThrough({ encoding: 'utf8' });
  const progress = startProgress({
    label: 'copy',
    total: 1000,
    stream: stream as unknown as NodeJS.WriteStream,
    now: () => nowMs,
  });

  nowMs = 100;
  progress.update(500);
  nowMs = 200;
  progress.update(501);
  nowMs = 10_000;
  progress.update(750, 'half');

  expect(stream.read()).toBe(
    ['copy  ████████████░░░░░░░░░░░░  500/1k', 'copy  ██████████████████░░░░░░  750/1k  25/s  10s left  half', ''].join(
      '\n',
    ),
  );
});
