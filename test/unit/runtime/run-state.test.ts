import { describe, expect, test } from 'vitest';

import { liveness, readiness, type RunState } from '../../../src/lib/runtime/run-state.ts';

const reading: RunState = {
  assigned: 2,
  held: 2,
  isDraining: false,
  failure: null,
  paused: new Map(),
  isBusy: true,
  stillMs: 10,
};
const paused = new Map([['KPIPE_POSTGRES_UNREACHABLE', 'PostgreSQL does not answer'] as const]);
const failure = 'KPIPE_NO_PROGRESS nothing read';

describe('a run is', () => {
  test.each<[string, Partial<RunState>, string | null, boolean, readonly string[]]>([
    ['reading', {}, null, true, []],
    ['idle for an hour, with nothing to read', { isBusy: false, stillMs: 3_600_000 }, null, true, []],
    [
      'waiting for its store',
      { paused },
      null,
      true,
      ['waiting: KPIPE_POSTGRES_UNREACHABLE PostgreSQL does not answer'],
    ],
    ['not a member yet', { assigned: null, held: 0 }, null, true, ['not a member of the group yet']],
    ['a member that has nothing to do', { assigned: 0, held: 0, isBusy: false }, null, true, []],
    ['claiming', { held: 1 }, null, true, ['1 of 2 partitions are not claimed yet']],
    ['draining', { isDraining: true }, null, true, ['draining']],
    ['without its store, and does not know yet', {}, 'no answer within 2 s', true, ['sink: no answer within 2 s']],
    ['stuck with a batch', { stillMs: 120_000 }, null, false, []],
    ['failed', { failure, isDraining: true }, null, false, [`failed: ${failure}`, 'draining']],
  ])('%s', (_what, more, sink, live, unready) => {
    const state = { ...reading, ...more };
    expect(liveness(state).ok).toBe(live);
    expect(readiness(state, sink)).toEqual({ ok: unready.length === 0, reasons: unready });
  });
});
