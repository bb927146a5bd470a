import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { Holdings } from '../../../../src/lib/kafka/group/holdings.ts';
import { AssignmentLostError, type Assignment, type TopicPartition } from '../../../../src/lib/ports.ts';

const drainMs = 1000;

/** Holdings whose listener answers when the test says so; everything that happens is written down. */
function hold() {
  const events: string[] = [];
  const failures: unknown[] = [];
  const claims = new Map<number, PromiseWithResolvers<bigint>>();
  const drains = new Map<number, PromiseWithResolvers<void>>();
  const assignments: Assignment[] = [];
  const numbers = (partitions: readonly TopicPartition[]): string =>
    partitions.map(({ partition }) => partition).join(' ');
  const holdings = new Holdings({
    topic: 'events',
    drainMs,
    listener: {
      joined: (count) => events.push(`joined ${count}`),
      assigned: (assignment) => {
        events.push(`assigned ${assignment.partition}`);
        assignments.push(assignment);
        return claims.get(assignment.partition)?.promise ?? Promise.resolve(5n);
      },
      fetched: () => Promise.resolve(),
      revoked: async (partitions) => {
        events.push(`revoked ${numbers(partitions)}`);
        for (const { partition } of partitions) {
          await drains.get(partition)?.promise;
        }
      },
    },
    reader: {
      start: ({ partition }, position) => events.push(`start ${partition}@${position}`),
      stop: (partitions) => events.push(`stop ${numbers(partitions)}`),
    },
    commit: ({ partition }, offset) => {
      events.push(`commit ${partition} ${offset}`);
      return Promise.resolve();
    },
    onReleased: () => events.push('told'),
    onFailed: (error) => failures.push(error),
  });
  vi.useFakeTimers();
  onTestFinished(() => {
    holdings.end();
    vi.useRealTimers();
  });
  const claim = (partition: number) => {
    claims.set(partition, Promise.withResolvers());
    return claims.get(partition)!;
  };
  const drain = (partition: number) => {
    drains.set(partition, Promise.withResolvers());
    return drains.get(partition)!;
  };
  return { holdings, events, failures, assignments, claim, drain };
}

/** Whatever is due now has happened. */
const settle = () => vi.advanceTimersByTimeAsync(0);

describe('towards a target', () => {
  test('what is new is begun where the listener says, what stays is not touched', async () => {
    const { holdings, events } = hold();
    holdings.aim([0, 1]);
    await settle();
    expect(events).toEqual(['joined 2', 'assigned 0', 'assigned 1', 'start 0@5', 'start 1@5']);
    events.length = 0;
    holdings.aim([1, 0, 2]);
    await settle();
    expect(events).toEqual(['joined 3', 'assigned 2', 'start 2@5']);
  });

  test('what goes is stopped, drained with all its rights, and released; a slow one holds up no other', async () => {
    const { holdings, events, assignments, drain } = hold();
    holdings.aim([0, 1, 2]);
    await settle();
    const slow = drain(0);
    events.length = 0;
    holdings.aim([2]);
    await settle();
    expect(events).toEqual(['joined 1', 'stop 0', 'revoked 0', 'stop 1', 'revoked 1', 'told']);
    expect(holdings.held).toEqual([0, 2]);
    expect(holdings.isDraining).toBe(true);
    expect(assignments.map(({ active }) => active)).toEqual([true, false, true]);
    await assignments[0]!.commit(9n);
    slow.resolve();
    await settle();
    expect(events.slice(-2)).toEqual(['commit 0 9', 'told']);
    expect(holdings.held).toEqual([2]);
    await expect(assignments[0]!.commit(10n)).rejects.toBeInstanceOf(AssignmentLostError);
  });

  test('draining has a bound: then it is released, and what still writes has lost it', async () => {
    const { holdings, events, assignments, drain, failures } = hold();
    holdings.aim([0]);
    await settle();
    drain(0);
    holdings.aim([]);
    await vi.advanceTimersByTimeAsync(drainMs - 1);
    expect(assignments[0]!.active).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    expect(events.at(-1)).toBe('told');
    expect(assignments[0]!.active).toBe(false);
    expect(failures).toEqual([]);
  });

  test('one that comes back while it drains is begun anew, once the listener has let go of it', async () => {
    const { holdings, events, assignments, drain } = hold();
    holdings.aim([0]);
    await settle();
    const slow = drain(0);
    holdings.aim([]);
    await settle();
    holdings.aim([0]);
    await settle();
    expect(assignments).toHaveLength(1);
    slow.resolve();
    await settle();
    expect(events.slice(-3)).toEqual(['told', 'assigned 0', 'start 0@5']);
    expect(assignments.map(({ active }) => active)).toEqual([false, true]);
  });

  test('one that is revoked before it began: inactive at once, and released only after the listener has answered', async () => {
    const { holdings, events, assignments, claim, failures } = hold();
    const claimed = claim(0);
    holdings.aim([0]);
    await settle();
    holdings.aim([]);
    await settle();
    expect(assignments[0]!.active).toBe(false);
    expect(holdings.held).toEqual([0]);
    claimed.reject(new AssignmentLostError('gone'));
    await settle();
    expect(events).toEqual(['joined 1', 'assigned 0', 'stop 0', 'revoked 0', 'told']);
    expect(failures).toEqual([]);
  });

  test('nothing at all is told only when nothing more comes', async () => {
    const { holdings, events } = hold();
    holdings.aim([]);
    await vi.advanceTimersByTimeAsync(1000);
    holdings.aim([4]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(events).toEqual(['joined 1', 'assigned 4', 'start 4@5']);
    holdings.aim([]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(events.filter((line) => line === 'joined 0')).toHaveLength(1);
  });
});

describe('when the membership is lost', () => {
  test('everything is inactive at once, and the listener is told', async () => {
    const { holdings, events, assignments } = hold();
    holdings.aim([0, 1]);
    await settle();
    events.length = 0;
    holdings.lose();
    expect(assignments.map(({ active }) => active)).toEqual([false, false]);
    expect(holdings.held).toEqual([]);
    await settle();
    expect(events).toEqual(['stop 0 1', 'revoked 0 1']);
  });

  test('what comes back is begun only when the listener has let go of what it had', async () => {
    const { holdings, events, drain } = hold();
    holdings.aim([0]);
    await settle();
    const slow = drain(0);
    holdings.lose();
    holdings.aim([0, 1]);
    await settle();
    expect(events.slice(-2)).toEqual(['assigned 1', 'start 1@5']);
    slow.resolve();
    await settle();
    expect(events.slice(-2)).toEqual(['assigned 0', 'start 0@5']);
  });

  test('while something drains: it is told once', async () => {
    const { holdings, events, drain } = hold();
    holdings.aim([0, 1]);
    await settle();
    const slow = drain(0);
    holdings.aim([1]);
    await settle();
    holdings.lose();
    slow.resolve();
    await settle();
    expect(events.filter((line) => line.startsWith('revoked'))).toEqual(['revoked 0', 'revoked 1']);
    expect(holdings.isDraining).toBe(false);
  });
});

describe('what the listener refuses', () => {
  test('a position that cannot be had ends the member', async () => {
    const { holdings, failures, claim } = hold();
    const claimed = claim(0);
    holdings.aim([0]);
    await settle();
    const reason = new Error('records lost');
    claimed.reject(reason);
    await settle();
    expect(failures).toEqual([reason]);
  });

  test('unless the partition was lost meanwhile', async () => {
    const { holdings, failures, claim } = hold();
    const claimed = claim(0);
    holdings.aim([0]);
    await settle();
    holdings.lose();
    claimed.reject(new Error('too late'));
    await settle();
    expect(failures).toEqual([]);
  });

  test('after quiesce nothing begins any more', async () => {
    const { holdings, events } = hold();
    holdings.aim([0]);
    await settle();
    holdings.quiesce();
    holdings.aim([0, 1]);
    await settle();
    expect(events).toEqual(['joined 1', 'assigned 0', 'start 0@5', 'joined 2']);
    expect(holdings.held).toEqual([0, 1]);
  });
});
