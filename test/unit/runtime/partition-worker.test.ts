import { describe, expect, test, vi } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import { AssignmentLostError, type Assignment } from '../../../src/lib/ports.ts';
import { decodeTest, fetched, fetchOf, record, type TestRow } from './batches.ts';
import type { DeadRecord } from '../../../src/lib/runtime/batch.ts';
import { RunCounts } from '../../../src/lib/runtime/counts.ts';
import { MemoryBudget } from '../../../src/lib/runtime/memory-budget.ts';
import { PartitionWorker, type WorkerContext } from '../../../src/lib/runtime/partition-worker.ts';
import { Semaphore } from '../../../src/lib/runtime/semaphore.ts';
import type { Claim, Sink, SinkBatch, WriteOutcome } from '../../../src/lib/runtime/sink.ts';

type Step = (batch: SinkBatch<TestRow>) => Promise<WriteOutcome> | WriteOutcome;

const written = (batch: SinkBatch<TestRow>): WriteOutcome => ({
  kind: 'written',
  stored: batch.rows.length,
  duplicates: 0,
});
const away = (): never => {
  throw new Error('away');
};

/** A sink in memory: `script` answers the first writes, after that everything is stored. What happens is told in order. */
function worker(script: Step[] = [], more: Partial<WorkerContext<TestRow>> = {}) {
  const told: string[] = [];
  const stored: TestRow[] = [];
  const ends: (string | KpipeError)[] = [];
  const pauses: (string | null)[] = [];
  const giveUp = new AbortController();
  const claim: Claim = { topic: 'events', partition: 0, position: 0n, epoch: 1n };
  const assignment: Assignment = { topic: 'events', partition: 0, active: true, commit: () => Promise.resolve() };
  const sink: Sink<TestRow> = {
    claim: () => Promise.resolve(claim),
    write: async (_claim, batch) => {
      told.push(`write ${batch.position}-${batch.nextPosition}`);
      const outcome = await (script.shift() ?? written)(batch);
      if (outcome.kind === 'written') {
        stored.push(...batch.rows);
      }
      return outcome;
    },
    afterCommit: (batch) => {
      told.push(`after ${batch.position}-${batch.nextPosition}`);
      return Promise.resolve();
    },
    commitsToGroup: false,
    classify: (error) => (error instanceof Error && error.message === 'broken' ? 'fatal' : 'retry'),
    describe: (error) => new KpipeError('KPIPE_POSTGRES_UNREACHABLE', String(error)),
    close: () => Promise.resolve(),
  };
  const buried: DeadRecord[] = [];
  const context: WorkerContext<TestRow> = {
    role: 'events',
    sink,
    decode: decodeTest,
    limits: { maxRows: 3, maxBytes: 1000, maxWaitMs: 10 },
    writes: new Semaphore(1),
    memory: new MemoryBudget(1_000_000),
    counts: new RunCounts(),
    breaker: { share: 0.5, of: 1000 },
    buryDead: (_origin, dead) => {
      if (dead.length > 0) {
        told.push(`bury ${dead.map((each) => each.record.offset).join(',')}`);
        buried.push(...dead);
      }
      return Promise.resolve();
    },
    onPaused: (_partition, reason) => pauses.push(reason === null ? null : reason.message),
    now: Date.now,
    // No jitter: no wait at all.
    random: () => 0,
    giveUp: giveUp.signal,
    ...more,
  };
  const subject = new PartitionWorker(assignment, claim, context, (_worker, reason) => ends.push(reason));
  return { subject, told, stored, ends, pauses, buried, giveUp, context };
}

const offsets = (rows: readonly TestRow[]): number[] => rows.map(({ offset }) => Number(offset));
const gate = () => Promise.withResolvers<void>();

describe('a partition is written', () => {
  test('in order, batch after batch, each with what follows its commit', async () => {
    const { subject, told, stored, context } = worker();
    await subject.accept(fetchOf(0, ['a', 'b', 'c', 'd', 'e']));
    await subject.accept(fetched(5, 12, [record(7), record(9)]));
    await subject.flush();
    expect(offsets(stored)).toEqual([0, 1, 2, 3, 4, 7, 9]);
    expect(told).toEqual(['write 0-3', 'after 0-3', 'write 3-8', 'after 3-8', 'write 8-12', 'after 8-12']);
    expect([subject.position, subject.writtenPosition, subject.isIdle]).toEqual([12n, 12n, true]);
    expect(context.counts.totals()).toEqual({ records: 7, stored: 7, duplicates: 0, deadLetters: 0, skipped: 0 });
    expect(context.counts.partitions()).toMatchObject([{ firstOffset: 0n, nextOffset: 12n }]);
  });

  test('by time when nothing more comes', async () => {
    const { subject, stored } = worker();
    await subject.accept(fetchOf(0, ['a']));
    await vi.waitFor(() => expect(subject.writtenPosition).toBe(1n));
    expect(offsets(stored)).toEqual([0]);
  });

  test('up to behind control records, which bring no row', async () => {
    const { subject, told } = worker();
    await subject.accept(fetched(0, 4, []));
    await subject.flush();
    expect([subject.writtenPosition, told]).toEqual([4n, ['write 0-4', 'after 0-4']]);
  });

  test('once: what is delivered again is dropped, whole or in part', async () => {
    const { subject, stored } = worker();
    await subject.accept(fetchOf(0, ['a', 'b']));
    await subject.accept(fetchOf(0, ['a', 'b']));
    await subject.accept(fetchOf(1, ['b', 'c', 'd']));
    await subject.flush();
    expect(offsets(stored)).toEqual([0, 1, 2, 3]);
  });

  test('without a hole: a fetch that begins later is a fault of the source', async () => {
    const { subject, stored } = worker();
    await expect(subject.accept(fetchOf(5, ['a']))).rejects.toMatchObject({ code: 'KPIPE_INTERNAL' });
    await subject.flush();
    expect(stored).toEqual([]);
  });
});

describe('dead letters', () => {
  test('are buried before the position moves over them', async () => {
    const { subject, told, buried, context } = worker();
    await subject.accept(fetchOf(0, ['a', 'dead', 'c']));
    await subject.flush();
    expect(told).toEqual(['bury 1', 'write 0-3', 'after 0-3']);
    expect(buried).toMatchObject([{ reason: 'schema', stage: 'decode', attempts: 1 }]);
    expect(context.counts.totals()).toMatchObject({ records: 3, stored: 2, deadLetters: 1 });
  });

  test('the sink’s refusals follow, each once, and the rest is written', async () => {
    const reject =
      (offset: bigint): Step =>
      () => ({
        kind: 'rejected',
        rejections: [{ offset, reason: 'sink_rejected', sqlstate: '23514', message: 'no' }],
      });
    const { subject, told, stored, buried, context } = worker([reject(2n), reject(0n)]);
    await subject.accept(fetchOf(0, ['a', 'dead', 'c']));
    await subject.flush();
    expect(told).toEqual(['bury 1', 'write 0-3', 'bury 2', 'write 0-3', 'bury 0', 'write 0-3', 'after 0-3']);
    expect(offsets(stored)).toEqual([]);
    expect(buried.map(({ stage, attempts, sqlstate }) => [stage, attempts, sqlstate])).toEqual([
      ['decode', 1, undefined],
      ['sink', 1, '23514'],
      ['sink', 2, '23514'],
    ]);
    expect(context.counts.totals()).toMatchObject({ records: 3, stored: 0, deadLetters: 3 });
  });

  test('that cannot be written hold the partition: nothing is stored, nothing is dropped', async () => {
    let refusals = 2;
    const { subject, stored, pauses } = worker([], {
      buryDead: () => {
        refusals -= 1;
        return refusals >= 0 ? Promise.reject(new KpipeError('KPIPE_PRODUCE_FAILED', 'no room')) : Promise.resolve();
      },
    });
    await subject.accept(fetchOf(0, ['a', 'dead', 'c']));
    await subject.flush();
    expect(offsets(stored)).toEqual([0, 2]);
    expect(pauses).toEqual(['no room', 'no room', null]);
  });

  test('a flood ends the partition before anything of that batch is buried or written', async () => {
    const { subject, told, ends } = worker([], { breaker: { share: 0.5, of: 4 } });
    await subject.accept(fetchOf(0, ['a', 'dead', 'c']));
    await subject.accept(fetchOf(3, ['dead', 'dead', 'f']));
    await subject.flush();
    expect(told).toEqual(['bury 1', 'write 0-3', 'after 0-3']);
    expect(ends).toMatchObject([
      { code: 'KPIPE_DEAD_LETTER_FLOOD', message: expect.stringContaining('2 × schema') as string },
    ]);
  });

  test('the sink’s refusals count for the flood too', async () => {
    const rejectAll: Step = (batch) => ({
      kind: 'rejected',
      rejections: batch.rows.map(({ offset }) => ({ offset, reason: 'sink_rejected', message: 'no' })),
    });
    const { subject, told, ends } = worker([rejectAll], { breaker: { share: 0.5, of: 3 } });
    await subject.accept(fetchOf(0, ['a', 'b', 'c']));
    await subject.flush();
    expect(told).toEqual(['write 0-3']);
    expect(ends).toMatchObject([{ code: 'KPIPE_DEAD_LETTER_FLOOD' }]);
  });
});

describe('failures', () => {
  test('that pass are tried again until they are over; the pause is told and taken back', async () => {
    const { subject, told, stored, pauses, ends } = worker([away, away]);
    await subject.accept(fetchOf(0, ['a', 'b', 'c']));
    await subject.flush();
    expect(told).toEqual(['write 0-3', 'write 0-3', 'write 0-3', 'after 0-3']);
    expect(offsets(stored)).toEqual([0, 1, 2]);
    expect([pauses, ends]).toEqual([['Error: away', 'Error: away', null], []]);
  });

  test('dead letters that are acked are not buried again while the sink is away', async () => {
    const { subject, told } = worker([away, away]);
    await subject.accept(fetchOf(0, ['dead', 'b', 'c']));
    await subject.flush();
    expect(told.filter((each) => each.startsWith('bury'))).toEqual(['bury 0']);
  });

  test.each([
    [
      'of configuration',
      () => {
        throw new Error('broken');
      },
      'KPIPE_POSTGRES_UNREACHABLE',
    ],
    [
      'with a code that no wait cures',
      () => {
        throw new KpipeError('KPIPE_SCHEMA_MISSING', 'no table');
      },
      'KPIPE_SCHEMA_MISSING',
    ],
  ])('%s end the partition, and nothing behind is written', async (_what, fail, code) => {
    const { subject, told, stored, ends } = worker([fail]);
    await subject.accept(fetchOf(0, ['a', 'b', 'c', 'd', 'e', 'f']));
    await subject.flush();
    await subject.accept(fetchOf(6, ['g', 'h', 'i']));
    expect(told).toEqual(['write 0-3']);
    expect([stored, subject.writtenPosition]).toEqual([[], 0n]);
    expect(ends).toMatchObject([{ code }]);
  });

  test('of what follows the commit write nothing twice', async () => {
    const { subject, told, stored, context } = worker();
    context.sink.afterCommit = () => Promise.reject(new Error('no cache'));
    await subject.accept(fetchOf(0, ['a', 'b', 'c']));
    await subject.flush();
    expect([told, offsets(stored)]).toEqual([['write 0-3'], [0, 1, 2]]);
    expect(context.counts.totals()).toMatchObject({ records: 3, stored: 3 });
  });

  test('at the drain’s deadline the wait for the sink ends', async () => {
    const { subject, giveUp, ends, pauses } = worker([], {
      random: () => 1,
      sink: { ...worker().context.sink, write: away },
    });
    await subject.accept(fetchOf(0, ['a', 'b', 'c']));
    await vi.waitFor(() => expect(pauses).toHaveLength(1));
    giveUp.abort();
    await subject.flush();
    expect(ends).toMatchObject([{ code: 'KPIPE_POSTGRES_UNREACHABLE' }]);
  });
});

describe('an ended claim', () => {
  test('fenced: nothing more is written, and the owner is told once', async () => {
    const { subject, told, ends, context } = worker([written, () => ({ kind: 'fenced' })]);
    await subject.accept(fetchOf(0, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']));
    await subject.flush();
    await subject.accept(fetchOf(9, ['j', 'k', 'l']));
    await subject.flush();
    expect([told, ends]).toEqual([['write 0-3', 'after 0-3', 'write 3-6'], ['fenced']]);
    expect([subject.writtenPosition, subject.isIdle, context.counts.totals().stored]).toEqual([3n, true, 3]);
  });

  test('abandoned: the write in hand is waited for, what waits behind it is dropped', async () => {
    const inHand = gate();
    const { subject, told, ends } = worker([(batch) => inHand.promise.then(() => written(batch))]);
    const accepted = subject.accept(fetchOf(0, ['a', 'b', 'c', 'd', 'e', 'f', 'g']));
    await vi.waitFor(() => expect(told).toEqual(['write 0-3']));
    let isAbandoned = false;
    const abandoned = subject.abandon().then(() => (isAbandoned = true));
    await accepted;
    expect(isAbandoned).toBe(false);
    inHand.resolve();
    await abandoned;
    await subject.flush();
    expect(told.filter((each) => each.startsWith('write'))).toEqual(['write 0-3']);
    expect([subject.writtenPosition, ends]).toEqual([3n, []]);
  });

  test('lost while the sink is away: it is not tried again, and nobody is told of a failure', async () => {
    const { subject, told, ends } = worker([
      () => {
        throw new AssignmentLostError('lost');
      },
    ]);
    await subject.accept(fetchOf(0, ['a', 'b', 'c']));
    await subject.flush();
    expect([told, ends]).toEqual([['write 0-3'], []]);
  });

  test('gives back all of the memory that it held', async () => {
    for (const outcome of ['abandon', 'fenced', 'broken'] as const) {
      const memory = new MemoryBudget(1);
      const take = vi.spyOn(memory, 'take');
      const giveBack = vi.spyOn(memory, 'giveBack');
      const step: Step = () => {
        if (outcome === 'broken') {
          throw new Error('broken');
        }
        return { kind: 'fenced' };
      };
      const { subject } = worker(outcome === 'abandon' ? [] : [step], { memory });
      const accepted = subject.accept(fetchOf(0, ['a', 'b', 'c', 'd']));
      await (outcome === 'abandon' ? subject.abandon() : subject.flush());
      await accepted;
      const sum = (calls: readonly (readonly [number])[]): number => calls.reduce((total, [bytes]) => total + bytes, 0);
      expect(sum(take.mock.calls)).toBeGreaterThan(0);
      expect(sum(giveBack.mock.calls)).toBe(sum(take.mock.calls));
      expect(memory.isExhausted).toBe(false);
    }
  });
});

describe('back-pressure', () => {
  test('no fetch is taken while a closed batch waits behind the one that is written', async () => {
    const inHand = gate();
    const { subject, told } = worker([(batch) => inHand.promise.then(() => written(batch))]);
    let taken = 0;
    const first = subject.accept(fetchOf(0, ['a', 'b', 'c'])).then(() => (taken += 1));
    await first;
    const second = subject.accept(fetchOf(3, ['d', 'e', 'f', 'g'])).then(() => (taken += 1));
    await vi.waitFor(() => expect(told).toEqual(['write 0-3']));
    expect(taken).toBe(1);
    inHand.resolve();
    await second;
    await subject.flush();
    expect(subject.writtenPosition).toBe(7n);
  });

  test('who holds records waits while all of them together hold too much; who holds none goes on', async () => {
    const inHand = gate();
    const memory = new MemoryBudget(2000);
    const writes = new Semaphore(2);
    const busy = worker([(batch) => inHand.promise.then(() => written(batch))], { memory, writes });
    const idle = worker([], { memory, writes });
    let isRoom = false;
    const accepted = busy.subject.accept(fetchOf(0, ['a', 'b', 'c', 'd'])).then(() => (isRoom = true));
    await vi.waitFor(() => expect(busy.told).toEqual(['write 0-3']));
    expect(memory.isExhausted).toBe(true);
    await idle.subject.accept(fetched(0, 2, []));
    expect(isRoom).toBe(false);
    inHand.resolve();
    await accepted;
    await Promise.all([busy.subject.flush(), idle.subject.flush()]);
    expect([busy.subject.writtenPosition, idle.subject.writtenPosition]).toEqual([4n, 2n]);
  });

  test('a batch larger than the whole budget still passes', async () => {
    const { subject } = worker([], { memory: new MemoryBudget(1) });
    await subject.accept(fetchOf(0, ['a'.repeat(900), 'b'.repeat(900)]));
    await subject.flush();
    expect(subject.writtenPosition).toBe(2n);
  });
});
