import { expect, test } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';

const read = (bigquery: string): ReturnType<typeof parseConfig> =>
  parseConfig(`pipeline: t\nkafka: {brokers: ['127.0.0.1:9092']}\nbigquery: ${bigquery}\n`, 'kpipe.yaml', {});

test('load jobs are a minute apart, unless a stand-in takes them', () => {
  const standIn = 'endpoint: http://127.0.0.1:9050';
  expect(read('{project: shop, dataset: a, write: load}').bigquery?.loadInterval).toBe(60_000);
  expect(read('{project: shop, dataset: a, write: load, loadInterval: 5m}').bigquery?.loadInterval).toBe(300_000);
  expect(read(`{project: shop, dataset: a, write: load, loadInterval: 1s, ${standIn}}`).bigquery?.loadInterval).toBe(
    1000,
  );
  expect(() => read('{project: shop, dataset: a, write: load, loadInterval: 59s}')).toThrow(/1,500 load jobs a day/);
});
