import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { lookAtLag, type CheckedLagReport } from '../../src/lib/offsets/look.ts';
import type { LagTarget } from '../../src/lib/offsets/targets.ts';
import { startAclBroker } from '../support/acl-broker.ts';
import { uniqueTopic } from '../support/servers.ts';
import { numbered, SourceLab } from '../support/source-lab.ts';

/** What `kpipe lag` shows a user who may not see everything: what is missing is named, the rest is there. */

const broker = await startAclBroker();
afterAll(() => broker.stop());
const { signal } = new AbortController();
const kafka = { brokers: [broker.address] };
const config: Config = parseConfig(JSON.stringify({ pipeline: 'test', kafka }), '/dev/null/kpipe.yaml', {});
const admin = await openKafkaAdmin(config.kafka);
let lab: SourceLab;
/** Made before any of them is hidden: the producer asks for every topic that it has sent to. */
const topics = { open: '', unreadable: '', hidden: '' };

beforeAll(async () => {
  lab = await vi.waitFor(() => SourceLab.open('classic', [broker.address]), { timeout: 150_000, interval: 500 });
  topics.open = await topicWith(5);
  topics.unreadable = await topicWith(5);
  topics.hidden = await topicWith(5);
});
afterAll(async () => {
  await admin.close();
  await lab.close();
});

async function topicWith(records: number): Promise<string> {
  const { topic } = await lab.trial(1);
  await lab.produce(topic, 0, numbered('a', records));
  return topic;
}

async function groupAt(...positions: readonly (readonly [topic: string, offset: bigint])[]): Promise<string> {
  const group = uniqueTopic('lag-rights');
  const commits = positions.map(([topic, offset]) => ({ topic, partition: 0, offset }));
  await vi.waitFor(() => admin.commitOffsets(group, commits), { timeout: 60_000, interval: 200 });
  return group;
}

function look(...targets: readonly Pick<LagTarget, 'group' | 'topic'>[]): Promise<CheckedLagReport> {
  const whole = targets.map((target) => ({ role: null, positionsIn: 'group' as const, ...target }));
  return lookAtLag(config, whole, { forMs: 0, intervalMs: 500, conditions: [] }, signal);
}

describe('without the right', () => {
  test('to read a topic: its lag is known, the age of its records is not; other groups are as ever', async () => {
    const { open, unreadable: closed } = topics;
    const [mine, theirs] = [await groupAt([open, 2n]), await groupAt([closed, 1n])];
    await lab.deny('topic', closed);
    const { roles } = await look({ group: mine, topic: null }, { group: theirs, topic: closed });
    expect(roles[0]).toMatchObject({ lagRecords: 3, timeLagMethod: 'record' });
    expect(roles[1]).toMatchObject({ group: theirs, timeLagMs: null });
    expect(roles[1]?.unknown['timeLagMs']).toBe(`no right to read topic ${closed} (TOPIC_AUTHORIZATION_FAILED)`);
  });

  test('to see a topic: it is named, and the rest of the look stands', async () => {
    const { open, hidden } = topics;
    const [mine, theirs] = [await groupAt([open, 2n]), await groupAt([hidden, 1n])];
    await lab.hide('topic', hidden);
    const { roles } = await look({ group: mine, topic: null }, { group: theirs, topic: hidden });
    expect(roles[0]).toMatchObject({ lagRecords: 3, timeLagMethod: 'record' });
    const reason = `no right to see topic ${hidden} (TOPIC_AUTHORIZATION_FAILED)`;
    expect(roles[1]).toMatchObject({ lagRecords: null, timeLagMs: null, status: 'unknown', reason });
    expect(roles[1]?.unknown['lagRecords']).toBe(reason);
  });

  test('to see a group: it is named, and the rest of the look stands', async () => {
    const topic = topics.open;
    const [mine, hidden] = [await groupAt([topic, 2n]), await groupAt([topic, 1n])];
    await lab.hide('group', hidden);
    const { roles, notes } = await look({ group: mine, topic: null }, { group: hidden, topic });
    expect(roles[0]).toMatchObject({ lagRecords: 3, timeLagMethod: 'record' });
    expect(roles[1]).toMatchObject({ state: null, status: 'unknown' });
    expect(roles[1]?.reason).toMatch(
      new RegExp(`^no right to (describe|read the offsets of) group ${hidden} \\(GROUP_AUTHORIZATION_FAILED\\)$`),
    );
    expect(notes).toContain(roles[1]?.reason);
  });
});
