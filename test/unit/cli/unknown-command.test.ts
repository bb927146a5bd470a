import { expect, test } from 'vitest';

import { unknownCommand } from '../../../src/cli/unknown-command.ts';

const commands = ['context list', 'lag', 'migrate', 'migrate grants', 'topics apply', 'topics plan'];

test.each([
  ['lga', 'did you mean kpipe lag?'],
  ['topics plam', 'did you mean kpipe topics plan?'],
  ['topic', 'did you mean kpipe topics?'],
  ['lagg events', 'did you mean kpipe lag?'],
  ['xyzzy', 'kpipe --help lists the commands'],
])('given the mistyped command "%s", when it is refused, then the next step is "%s"', (typed, next) => {
  const refusal = unknownCommand(typed, commands, ['topics']);

  expect(refusal.code).toBe('KPIPE_USAGE');
  expect(refusal.exitCode).toBe(2);
  expect(refusal.message).toBe(`there is no command "${typed}"`);
  expect(refusal.next).toBe(next);
});

test.each([
  ['topics plan extra', 'kpipe topics plan takes no argument: extra', 'see --help'],
  ['migrate one two', 'kpipe migrate takes no argument: one two', 'see --help'],
  ['migrate grantz', 'kpipe migrate takes no argument: grantz', 'did you mean kpipe migrate grants?'],
])('given "%s", when it is refused, then the argument is said to be too many', (typed, message, next) => {
  const refusal = unknownCommand(typed, commands, ['topics']);

  expect(refusal).toMatchObject({ code: 'KPIPE_USAGE', exitCode: 2, message, next });
});
