import { describe, expect, test } from 'vitest';

import { parseConfig } from '../../../src/lib/config/load.ts';

const read = (columns: string): ReturnType<typeof parseConfig> =>
  parseConfig(
    `pipeline: t\nkafka: {brokers: ['127.0.0.1:9092']}\nbigquery:\n  project: shop\n  dataset: a\n  columns:\n${columns}\n`,
    'kpipe.yaml',
    {},
  );

describe('bigquery.columns', () => {
  test('maps event types to columns', () => {
    const columns = `    'page.*':
      page_url: {from: data.page.url, type: STRING}
      tags: {from: data.tags, type: ARRAY<STRING>}
    order.placed:
      total: {from: data.total, type: NUMERIC}
      page_url: {from: data.url, type: STRING}`;
    expect(read(columns).bigquery?.columns).toEqual({
      'page.*': {
        page_url: { from: 'data.page.url', type: 'STRING' },
        tags: { from: 'data.tags', type: 'ARRAY<STRING>' },
      },
      'order.placed': {
        total: { from: 'data.total', type: 'NUMERIC' },
        page_url: { from: 'data.url', type: 'STRING' },
      },
    });
  });

  test.each([
    ['one of kpipe’s own', "    '*': {Subject: {from: data.s, type: STRING}}", /column subject is kpipe’s own already/],
    [
      'another type',
      '    a: {n: {from: data.n, type: INT64}}\n    b: {n: {from: data.n, type: STRING}}',
      /column n is INT64 already/,
    ],
    [
      'another case',
      '    a: {n: {from: data.n, type: INT64}}\n    b: {N: {from: data.n, type: INT64}}',
      /column n is INT64 already/,
    ],
    ['a name of BigQuery’s', "    '*': {_PARTITIONTIME: {from: data.n, type: DATE}}", /keeps names that begin so/],
    ['a name with a dash', "    '*': {page-url: {from: data.n, type: DATE}}", /not a column name/],
    ['a path outside of the data', "    '*': {n: {from: subject, type: STRING}}", /not a path into the data/],
    ['the data as a whole', "    '*': {n: {from: data, type: JSON}}", /not a path into the data/],
    ['a type that is none', "    '*': {n: {from: data.n, type: ARRAY<JSON>}}", /bigquery\.columns\.\*\.n\.type/],
    ['a key that is none', "    '*': {n: {from: data.n, type: INT64, mode: REQUIRED}}", /unknown key .*mode/],
  ])('%s is refused where it stands', (_what, columns, message) => {
    expect(() => read(columns)).toThrow(message);
    expect(() => read(columns)).toThrow(/^kpipe\.yaml:\d+:\d+: /);
  });
});
