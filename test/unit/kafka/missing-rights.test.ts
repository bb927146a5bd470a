import { describe, expect, test } from 'vitest';

import { callFailure } from '../../../src/lib/kafka/failures.ts';
import { missingRights, rightText } from '../../../src/lib/kafka/missing-rights.ts';

/** As @platformatic/kafka throws an answer that holds errors. */
function refused(request: string, errors: Readonly<Record<string, string>>, response: object): Error {
  const parts = Object.entries(errors).map(([path, apiId]) => Object.assign(new Error(apiId), { apiId, path }));
  return Object.assign(new AggregateError(parts, `Received response with error while executing API ${request}(v9)`), {
    response,
  });
}

describe('a missing right', () => {
  test.each<[request: string, errors: Readonly<Record<string, string>>, response: object, texts: string[]]>([
    [
      'Metadata',
      { '/topics/1': 'TOPIC_AUTHORIZATION_FAILED' },
      { topics: [{ name: 'seen' }, { name: 'hidden' }] },
      ['no right to Describe topic hidden (TOPIC_AUTHORIZATION_FAILED)'],
    ],
    [
      'OffsetCommit',
      {
        '/topics/0/partitions/0': 'TOPIC_AUTHORIZATION_FAILED',
        '/topics/0/partitions/1': 'TOPIC_AUTHORIZATION_FAILED',
      },
      { topics: [{ name: 'orders', partitions: [{}, {}] }] },
      ['no right to Read topic orders (TOPIC_AUTHORIZATION_FAILED)'],
    ],
    [
      'FindCoordinator',
      { '/coordinators/0': 'GROUP_AUTHORIZATION_FAILED' },
      { coordinators: [{ key: 'g' }] },
      ['no right to Describe group g (GROUP_AUTHORIZATION_FAILED)'],
    ],
    [
      'CreateTopics',
      { '/topics/0': 'CLUSTER_AUTHORIZATION_FAILED' },
      { topics: [{ name: 't' }] },
      ['no right to Create the cluster (CLUSTER_AUTHORIZATION_FAILED)'],
    ],
    [
      'JoinGroup',
      { '/': 'GROUP_AUTHORIZATION_FAILED' },
      {},
      ['no right to Read the group (GROUP_AUTHORIZATION_FAILED)'],
    ],
    ['Strange', { '/': 'GROUP_AUTHORIZATION_FAILED' }, {}, ['no right to the group (GROUP_AUTHORIZATION_FAILED)']],
    ['Metadata', { '/topics/0': 'UNKNOWN_TOPIC_OR_PARTITION' }, { topics: [{ name: 't' }] }, []],
  ])('%s %j', (request, errors, response, texts) => {
    expect(missingRights(refused(request, errors, response)).map(rightText)).toEqual(texts);
  });

  test('is told with the command that grants it; what the answer leaves out, the question knows', () => {
    const error = refused('JoinGroup', { '/': 'GROUP_AUTHORIZATION_FAILED' }, {});
    expect(callFailure('joining', error, { group: 'kpipe-events' })).toMatchObject({
      code: 'KPIPE_KAFKA_FAILED',
      exitCode: 1,
      message: 'joining failed: no right to Read group kpipe-events (GROUP_AUTHORIZATION_FAILED)',
      next: expect.stringMatching(/--operation Read --group kpipe-events/) as string,
    });
  });
});
