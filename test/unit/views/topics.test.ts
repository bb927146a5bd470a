import { describe, expect, test } from 'vitest';

import { viewOn } from '../../../src/cli/base-command.ts';
import { paletteFor } from '../../../src/cli/output/text.ts';
import { applyView, describedTopicView, planView, topicListView } from '../../../src/cli/views/topics.ts';
import type { Change, TopicPlan } from '../../../src/lib/topics/change.ts';

const view = viewOn(paletteFor('stdout', { NO_COLOR: '1' }));

const created: Change = {
  topic: 'events.dlq',
  kind: 'create',
  key: null,
  from: null,
  to: { partitions: 1, replicationFactor: 3, config: { 'retention.ms': '2592000000' } },
  reason: 'dead letters of events',
  risk: 'none',
  warnings: [],
};
const retention: Change = {
  topic: 'events',
  kind: 'config',
  key: 'retention.ms',
  from: '259200000',
  to: '604800000',
  reason: 'declared',
  risk: 'none',
  warnings: [],
};
const partitions: Change = {
  topic: 'events',
  kind: 'partitions',
  key: 'partitions',
  from: 6,
  to: 12,
  reason: '12 consumers',
  risk: 'high',
  warnings: ['keyed topic: key → partition mapping changes for new records'],
};
const plan: TopicPlan = {
  clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
  observedAt: '2026-01-02T14:02:11.123Z',
  stateHash: '',
  changes: [retention, partitions, created],
  inSync: [{ topic: 'logs', keptKeys: ['segment.ms', 'flush.ms'] }],
  unmanaged: ['stranger'],
};

describe('topics plan', () => {
  test('shows each change with old and new, its risk and its reason', () => {
    expect(planView('prod')(plan, view)).toMatchInlineSnapshot(`
      "context prod   cluster MkU3OEVBNTcwNTJENDM2Qg   observed 14:02:11Z
      ~ events      retention.ms  3d → 7d
                    partitions    6 → 12    ! keyed topic: key → partition mapping changes for new records   12 consumers
      + events.dlq  create  1 partition × 3 replicas, retention.ms 30d   dead letters of events
      = logs        in sync (2 keys set outside the file: kept)
      ? stranger  not in the file: left alone
      plan: 1 create, 1 update, 0 delete, 1 warning; 1 topic outside the file: left alone"
    `);
  });

  test('in sync', () => {
    expect(planView(null)({ ...plan, changes: [], unmanaged: [] }, view)).toMatchInlineSnapshot(`
      "cluster MkU3OEVBNTcwNTJENDM2Qg   observed 14:02:11Z
      = logs  in sync (2 keys set outside the file: kept)
      plan: 0 create, 0 update, 0 delete, 0 warnings"
    `);
  });

  test('what a broker says cannot reach the terminal raw', () => {
    const hostile: Change = { ...retention, from: 'a\u001b[2Jb\u202e', topic: 'x\ry' };
    const text = planView('\u001b]0;title\u0007')({ ...plan, changes: [hostile] }, view);
    expect(text).not.toMatch(/[\u001b\r\u0007\u202e]/);
    expect(text).toContain('a\\e[2Jb\\u{202e}');
  });
});

describe('topics apply', () => {
  const result = { clusterId: 'c', appliedAt: '', done: [], failed: [], notDone: [], inSync: ['events', 'logs'] };

  test('in sync already', () => {
    expect(applyView(result, view)).toBe('in sync: 2 topics as declared, nothing to do');
  });

  test('partly done says what is and what is not', () => {
    const failed = [
      {
        change: retention,
        code: 'KPIPE_KAFKA_FAILED',
        message: 'changing the configuration failed',
        next: 'kpipe doctor',
      },
    ];
    expect(applyView({ ...result, done: [created], failed, notDone: [partitions] }, view)).toMatchInlineSnapshot(`
      "done     events.dlq  create  1 partition × 3 replicas, retention.ms 30d
      failed   events  retention.ms  3d → 7d
               KPIPE_KAFKA_FAILED changing the configuration failed
               next: kpipe doctor
      not done events  partitions  6 → 12
      applied: 1 done, 1 failed, 1 not done"
    `);
  });
});

test('topics list', () => {
  const known = {
    exists: true,
    partitions: 6,
    replicationFactor: 3,
    underReplicated: 0,
    offline: 0,
    retentionMs: 604_800_000,
    records: 1234567n,
  };
  const unknown = {
    exists: false,
    partitions: null,
    replicationFactor: null,
    underReplicated: null,
    offline: null,
    retentionMs: null,
    records: null,
  };
  const topics = [
    { topic: 'events', ...known, origin: 'declared', roles: ['events'] },
    { topic: 'events.dlq', ...unknown, origin: 'deadLetters', roles: ['events'] },
    { topic: 'logs', ...known, underReplicated: 2, retentionMs: -1, origin: 'declared', roles: [] },
    { topic: 'stranger', ...known, underReplicated: 2, offline: 1, records: null, origin: null, roles: [] },
  ] as const;
  expect(topicListView({ clusterId: 'c', topics }, view)).toMatchInlineSnapshot(`
    "TOPIC       PARTITIONS  REPLICAS  RETENTION    RECORDS  FROM                    STATE
    events               6         3         7d  1,234,567  role events             ok
    events.dlq           ?         ?          ?          ?  dead letters of events  missing: kpipe topics apply
    logs                 6         3  unlimited  1,234,567  kpipe.yaml              2 partitions under-replicated
    stranger             6         3         7d          ?                          1 partition offline"
  `);
});

test('topics describe', () => {
  const text = describedTopicView({ defaults: false })(
    {
      clusterId: 'c',
      topic: 'events',
      topicId: '8c0b74a8-3286-4793-adcb-962e95d42401',
      origin: 'declared',
      roles: ['events'],
      replicationFactor: 2,
      partitions: [
        {
          partition: 0,
          leader: 1,
          replicas: [1, 2],
          isr: [1],
          logStartOffset: 5n,
          highWatermark: 1005n,
          records: 1000n,
          bytes: 41_000_000n,
          firstRecordAt: '2026-01-02T03:04:05.678Z',
          lastRecordAt: '2026-01-03T03:04:05.000Z',
        },
        {
          partition: 1,
          leader: null,
          replicas: [2, 1],
          isr: [2],
          logStartOffset: null,
          highWatermark: null,
          records: null,
          bytes: null,
          firstRecordAt: null,
          lastRecordAt: null,
        },
      ],
      config: [
        { key: 'min.insync.replicas', value: '1', source: 'broker', brokerSource: 'broker file', declared: '2' },
        { key: 'retention.ms', value: '604800000', source: 'topic', brokerSource: null, declared: '604800000' },
        { key: 'segment.ms', value: '604800000', source: 'default', brokerSource: null, declared: null },
      ],
    },
    view,
  );
  expect(text).toMatchInlineSnapshot(`
    "events   2 partitions × 2 replicas   id 8c0b74a8-3286-4793-adcb-962e95d42401   role events

    PARTITION  LEADER  REPLICAS  IN SYNC  LOG START  HIGH WATERMARK  RECORDS      SIZE  FIRST RECORD          LAST RECORD
            0       1  1,2       1                5            1005    1,000  39.1 MiB  2026-01-02 03:04:05Z  2026-01-03 03:04:05Z
            1    none  2,1       2                ?               ?        ?         ?

    KEY                  VALUE  SET BY       DECLARED
    min.insync.replicas  1      broker file  2
    retention.ms         7d     topic        7d"
  `);
});
