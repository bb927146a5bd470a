import { describe, expect, test } from 'vitest';

import { evaluateBrokerFailOn, parseBrokerFailOn } from '../../../src/lib/health/broker-fail-on.ts';
import { noDiskHistory } from '../../../src/lib/health/disk-forecast.ts';
import { judgeCluster } from '../../../src/lib/health/judge-cluster.ts';
import { cluster, topic } from './cluster-fixtures.ts';

const context = { disks: noDiskHistory, before: null, alerts: {} };
const report = judgeCluster(cluster({ topics: [topic([{ leader: -1, isr: [] }, { isr: [1] }, {}])] }), context);
const check = (expression: string) => evaluateBrokerFailOn(parseBrokerFailOn(expression), report);

describe('--fail-on of brokers', () => {
  test.each([
    ['offline>0', [{ where: null, condition: 'offline>0', actual: '1' }]],
    ['offline>1', []],
    ['undermin>=1', [{ where: null, condition: 'undermin>=1', actual: '1' }]],
    ['down>0', []],
    ['problems>1', [{ where: null, condition: 'problems>1', actual: '2' }]],
    ['used>50.5%', []],
    ['OFFLINE', [{ where: null, condition: 'OFFLINE', actual: 'events-0' }]],
  ])('%s', (expression, failed) => {
    expect(check(expression)).toEqual({ failed, unjudged: [] });
  });

  test('figures of disks are judged for each', () => {
    expect(check('used>=50').failed.map(({ where, actual }) => [where, actual])).toEqual([
      ['1 /data', '50 %'],
      ['2 /data', '50 %'],
      ['3 /data', '50 %'],
    ]);
    expect(check('free<1kB').failed).toHaveLength(3);
  });

  test('what is not known meets no condition and is named', () => {
    expect(check('full<3d')).toMatchObject({
      failed: [],
      unjudged: [{ actual: 'seen only once: growth needs two looks' }, {}, {}],
    });
    expect(check('shrinks>0').unjudged).toEqual([{ where: null, condition: 'shrinks>0', actual: 'seen only once' }]);
  });

  test.each(['', 'atmin', 'offline>x', 'used>lots', 'full<3', 'toString>1', 'offline>1.5', 'FINE'])(
    'refuses %j',
    (text) => {
      expect(() => parseBrokerFailOn(text)).toThrow(expect.objectContaining({ code: 'KPIPE_USAGE' }) as Error);
    },
  );
});
