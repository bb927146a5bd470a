import { expect, test } from 'vitest';

import { SchemaLag } from '../../../src/lib/bigquery/schema-lag.ts';

test('a column that is not known yet is waited for, ten minutes from the first refusal on', () => {
  let nowMs = 1000;
  const lag = new SchemaLag(() => nowMs);
  expect(lag.isOver).toBe(false);
  expect(lag.noted()).toMatchObject({ code: 'KPIPE_BIGQUERY_UNREACHABLE' });
  nowMs += 600_000;
  lag.noted();
  expect(lag.isOver).toBe(false);
  nowMs += 1;
  expect(lag.isOver).toBe(true);
  lag.passed();
  expect(lag.isOver).toBe(false);
  lag.noted();
  expect(lag.isOver).toBe(false);
});
