import { expect, test } from 'vitest';

import { nodeIsRecent } from '../../../src/cli/launch.ts';

test.each([
  ['22.12.0', true],
  ['22.20.3', true],
  ['24.0.0', true],
  ['100.1.2', true],
  ['22.11.9', false],
  ['22.2.0', false],
  ['20.20.2', false],
  ['18.19.0', false],
  ['9.99.0', false],
])('given Node %s, when kpipe starts, then running on it is %s', (version, recent) => {
  expect(nodeIsRecent(version)).toBe(recent);
});
