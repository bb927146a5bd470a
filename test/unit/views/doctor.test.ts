import { expect, test } from 'vitest';

import { viewOn } from '../../../src/cli/base-command.ts';
import { paletteFor } from '../../../src/cli/output/text.ts';
import { doctorView } from '../../../src/cli/views/doctor.ts';

test('doctor: a line a check, the next step below what is not well', () => {
  const checks = [
    { name: 'cluster', store: 'kafka', ok: true, level: 'ok', detail: 'abc, 3 brokers', next: null, ms: 12 },
    {
      name: 'topics',
      store: 'kafka',
      ok: false,
      level: 'fail',
      detail: 'missing: events',
      next: 'kpipe topics apply',
      ms: 12,
    },
    {
      name: 'primary clock',
      store: 'postgres',
      ok: true,
      level: 'warn',
      detail: '+3000 ms',
      next: 'synchronise the clocks',
      ms: 40,
    },
  ] as const;
  expect(doctorView({ checks }, viewOn(paletteFor('stdout', { NO_COLOR: '1' })))).toMatchInlineSnapshot(`
    "kafka 12ms
      ok    cluster        abc, 3 brokers
      FAIL  topics         missing: events
                           next: kpipe topics apply
    postgres 40ms
      warn  primary clock  +3000 ms
                           next: synchronise the clocks
    3 checks: 1 ok, 1 to look at, 1 failed"
  `);
});
