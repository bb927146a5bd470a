import { expect, test } from 'vitest';

import { helpSubject } from '../../../src/cli/help-request.ts';

test.each([
  [[], ''],
  [['--help'], ''],
  [['-h'], ''],
  [['help'], ''],
  [['lag', '--help'], 'lag'],
  [['topics', 'plan', '-h'], 'topics plan'],
  [['help', 'topics', 'plan'], 'topics plan'],
] as const)('given %j, when help is asked for, then it is about "%s"', (argv, subject) => {
  expect(helpSubject(argv)).toBe(subject);
});

test.each([
  [['topics']],
  [['lag', '--json']],
  [['lag', '--json', '--help']],
  [['--help', 'lag']],
  [['produce', 'events', '--', '../--help']],
  [['tail', 'Events.v1', '--help']],
  [['--', '--help']],
] as const)('given %j, when it is more than a request for help, then it is left to the parser', (argv) => {
  expect(helpSubject(argv)).toBeUndefined();
});
