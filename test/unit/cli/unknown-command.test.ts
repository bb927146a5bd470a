import { expect, test } from 'vitest';

import { unknownCommand } from '../../../src/cli/unknown-command.ts';

const known = ['context list', 'lag', 'topics', 'topics apply', 'topics plan'];

test.each([
  ['lga', 'did you mean kpipe lag?'],
  ['topics plam', 'did you mean kpipe topics plan?'],
  ['topic', 'did you mean kpipe topics?'],
  ['lagg events', 'did you mean kpipe lag?'],
  ['xyzzy', 'kpipe --help lists the commands'],
])('given the mistyped command "%s", when it is refused, then the next step is "%s"', (typed, next) => {
  const refusal = unknownCommand(typed, known);

  expect(refusal.code).toBe('KPIPE_USAGE');
  expect(refusal.exitCode).toBe(2);
  expect(refusal.message).toBe(`there is no command "${typed}"`);
  expect(refusal.next).toBe(next);
});
