import { describe, expect, test } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';
import { lagTargets, namedRole } from '../../../src/lib/offsets/targets.ts';

const config = parseConfig(
  `pipeline: p
kafka: {brokers: [localhost:9092]}
topics: {logs: {partitions: 1}}
roles: {logs: {topic: logs, group: kpipe-logs, sink: postgres, deadLetters: logs.dlq}}
postgres: {primary: 'postgres://kpipe@localhost/kpipe'}`,
  'kpipe.yaml',
  {},
);

describe('whom a command means', () => {
  test('given nothing, then every role; given groups, then those, a role’s as that role', () => {
    expect(lagTargets(config, [], []).map(({ role, group }) => [role, group])).toEqual([['logs', 'kpipe-logs']]);
    expect(lagTargets(config, [], ['other', 'kpipe-logs']).map(({ role, group }) => [role, group])).toEqual([
      [null, 'other'],
      ['logs', 'kpipe-logs'],
    ]);
  });

  test('given a role that is not there, then the refusal names only what its command takes', () => {
    expect(() => lagTargets(config, ['nowhere'], [])).toThrow(
      expect.objectContaining({ code: 'KPIPE_USAGE', next: 'it has: logs; --group NAME shows any group' }),
    );
    expect(() => namedRole(config, 'nowhere')).toThrow(
      expect.objectContaining({ code: 'KPIPE_USAGE', next: 'it has: logs' }),
    );
    expect(() => namedRole(config, 'lgos')).toThrow(expect.objectContaining({ next: 'did you mean logs?' }));
  });

  test('given a group without a name, then it is refused before Kafka is asked', () => {
    expect(() => lagTargets(config, [], [''])).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }));
  });
});
