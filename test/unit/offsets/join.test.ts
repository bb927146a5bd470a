import { describe, expect, test } from 'vitest';

import { joinPartitions, seenGroup, seenTopics } from '../../../src/lib/offsets/join.ts';
import type { LagTarget } from '../../../src/lib/offsets/targets.ts';
import type { GroupSight, Sight, TopicSight } from '../../../src/lib/ports.ts';

const known = <Value>(value: Value): Sight<Value> => ({ kind: 'known', value });
const unknown = (reason: string): { readonly kind: 'unknown'; readonly reason: string } => ({
  kind: 'unknown',
  reason,
});
const anyTopic: LagTarget = { role: null, group: 'g', topic: null, positionsIn: 'group' };
const role: LagTarget = { role: 'events', group: 'g', topic: 'events', positionsIn: 'postgres' };

/** A group that has committed these, and whose one member has the first of them. */
function sight(...commits: readonly (readonly [topic: string, partition: number, offset: bigint])[]): GroupSight {
  const committed = commits.map(([topic, partition, offset]) => ({ topic, partition, offset, metadata: '' }));
  const member = { memberId: 'm', instanceId: null, clientId: 'shop', host: '10.0.0.1' };
  return {
    group: 'g',
    description: known({
      group: 'g',
      protocol: 'consumer',
      state: 'Stable',
      members: [{ ...member, assignment: committed.slice(0, 1) }],
    }),
    committed: known(committed),
  };
}

const topic = (name: string, ...ends: readonly Sight<readonly [bigint, bigint]>[]): TopicSight => ({
  name,
  partitions: known(
    new Map(
      ends.map((end, partition) => [
        partition,
        end.kind === 'unknown' ? end : known({ logStartOffset: end.value[0], highWatermark: end.value[1] }),
      ]),
    ),
  ),
  config: known(new Map([['retention.ms', '1000']])),
});

describe('a group’s partitions', () => {
  test('are those of its topics; one whose log cannot be seen says why', () => {
    const group = seenGroup(anyTopic, sight(['a', 0, 5n], ['a', 1, 6n]), null);
    const topics = seenTopics([topic('a', known([0n, 9n]), unknown('broker 3 is away'), known([1n, 2n]))]);
    const { partitions, problem } = joinPartitions(group, topics);
    expect(problem).toBeNull();
    expect(partitions).toMatchObject([
      { partition: 0, position: 5n, logStartOffset: 0n, highWatermark: 9n, logProblem: null, member: 'shop@10.0.0.1' },
      { partition: 1, position: 6n, logStartOffset: null, highWatermark: null, logProblem: 'broker 3 is away' },
      { partition: 2, position: null, committedOffset: null, highWatermark: 2n, member: null },
    ]);
  });

  test('of a topic that cannot be seen are those that are committed or assigned; the others are no problem', () => {
    const group = seenGroup(anyTopic, sight(['gone', 4, 7n], ['kept', 0, 1n]), null);
    const topics = seenTopics([
      { name: 'gone', partitions: unknown('topic gone does not exist'), config: unknown('topic gone does not exist') },
      topic('kept', known([0n, 3n])),
    ]);
    expect(topics.notes).toEqual([]);
    const { partitions, problem } = joinPartitions(group, topics);
    expect(problem).toBeNull();
    expect(partitions).toMatchObject([
      { topic: 'gone', partition: 4, position: 7n, logProblem: 'topic gone does not exist' },
      { topic: 'kept', partition: 0, position: 1n, logProblem: null },
    ]);
  });

  test('of which nothing can be seen are the group’s problem; a role is told what makes its topic', () => {
    const absent = unknown('topic events does not exist');
    const topics = seenTopics([{ name: 'events', partitions: absent, config: absent }]);
    expect(joinPartitions(seenGroup(role, sight(), null), topics)).toEqual({
      partitions: [],
      problem: 'topic events does not exist: run `kpipe topics apply`',
    });
    expect(joinPartitions(seenGroup({ ...role, role: null }, sight(), null), topics).problem).toBe(absent.reason);
  });
});

describe('a group', () => {
  test('whose commits cannot be seen is told, but not where PostgreSQL has its positions', () => {
    const hidden: GroupSight = { group: 'g', description: unknown('no right'), committed: unknown('no right') };
    expect(seenGroup(role, hidden, null)).toMatchObject({
      seen: { problem: 'no right' },
      notes: ['no right', 'no right'],
    });
    const stored = known([{ topic: 'events', partition: 0, position: 3n, epoch: 1n, updatedAtMs: 5 }]);
    const group = seenGroup(role, hidden, stored);
    expect(group.seen).toMatchObject({ problem: null, positionSource: 'postgres', state: null });
    expect(joinPartitions(group, seenTopics([topic('events', known([0n, 9n]))])).partitions).toMatchObject([
      { position: 3n, positionWrittenAtMs: 5, committedOffset: null },
    ]);
  });

  test('is shown by its commits, with a note, while PostgreSQL is away', () => {
    const group = seenGroup(role, sight(['events', 0, 2n]), unknown('PostgreSQL is away'));
    expect(group.seen.positionSource).toBe('group');
    expect(group.notes).toEqual(["PostgreSQL is away; positions are the groups' commits, which may lie behind"]);
  });
});

test('a configuration that may not be seen is a note, and the retention is not known', () => {
  const topics = seenTopics([{ ...topic('a', known([0n, 1n])), config: unknown('no right to see it') }]);
  expect(topics.notes).toEqual(['no right to see it']);
  expect(topics.retention.has('a')).toBe(false);
});
