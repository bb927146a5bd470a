import { describe, expect, test } from 'vitest';

import { columns } from '../../../src/lib/bigquery/columns.ts';
import {
  planWarehouse,
  viewQuery,
  type ObservedTable,
  type ObservedWarehouse,
} from '../../../src/lib/bigquery/warehouse-plan.ts';
import type { BigQueryConfig } from '../../../src/lib/config/schema.ts';

const dayMs = 86_400_000;
const config: BigQueryConfig = {
  project: 'shop',
  dataset: 'analytics',
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
  expiry: 30 * dayMs,
};
const asDeclared: ObservedTable = {
  columns: columns.map(({ name, type, mode }) => ({ name, type, mode })),
  partitioning: { type: 'DAY', field: 'time', expiryMs: 30 * dayMs },
  clustering: ['type', 'source'],
  requirePartitionFilter: true,
};
const inSync: ObservedWarehouse = { location: 'US', table: asDeclared, view: { query: viewQuery(config) } };
const withTable = (over: Partial<ObservedTable>): ObservedWarehouse => ({
  ...inSync,
  table: { ...asDeclared, ...over },
});
const without = (name: string): ObservedTable['columns'] => asDeclared.columns.filter((column) => column.name !== name);
const partitions = (over: Partial<NonNullable<ObservedTable['partitioning']>>): Partial<ObservedTable> => ({
  partitioning: { type: 'DAY', field: 'time', expiryMs: 30 * dayMs, ...over },
});

describe('the plan of the warehouse', () => {
  test('as declared, there is nothing to do', () => {
    expect(planWarehouse(config, inSync)).toEqual({ table: 'shop.analytics.events', changes: [], obstacles: [] });
  });

  test('nothing there: dataset, table and view, in the order that they need each other', () => {
    const { changes, obstacles } = planWarehouse(config, { location: null, table: null, view: null });
    expect(changes.map(({ kind }) => kind)).toEqual(['create-dataset', 'create-table', 'create-view']);
    expect(obstacles).toEqual([]);
  });

  test.each([
    [
      'a column that is missing',
      withTable({ columns: without('subject') }),
      [
        { kind: 'add-column', column: 'subject', type: 'STRING' },
        { kind: 'replace-view', view: 'events_unique' },
      ],
    ],
    [
      'a longer life of partitions',
      withTable(partitions({ expiryMs: 7 * dayMs })),
      [{ kind: 'set-expiry', fromMs: 7 * dayMs, toMs: 30 * dayMs }],
    ],
    [
      'another clustering',
      withTable({ clustering: ['id'] }),
      [{ kind: 'set-clustering', from: ['id'], to: ['type', 'source'] }],
    ],
    ['queries without a bound', withTable({ requirePartitionFilter: false }), [{ kind: 'require-partition-filter' }]],
    ['a server that does not tell of bounds', withTable({ requirePartitionFilter: null }), []],
    [
      'a view of another query',
      { ...inSync, view: { query: 'SELECT 1' } },
      [{ kind: 'replace-view', view: 'events_unique' }],
    ],
    ['a view with other white space', { ...inSync, view: { query: viewQuery(config).replaceAll('\n', '  ') } }, []],
    ['a view whose query is not told', { ...inSync, view: { query: null } }, []],
    [
      'a column of somebody else',
      withTable({ columns: [...asDeclared.columns, { name: 'note', type: 'STRING', mode: 'NULLABLE' }] }),
      [],
    ],
  ] as const)('%s', (_what, observed, changes) => {
    expect(planWarehouse(config, observed)).toMatchObject({ changes, obstacles: [] });
    expect(planWarehouse(config, observed).changes).toHaveLength(changes.length);
  });

  test.each([
    ['a shorter life', withTable(partitions({ expiryMs: 90 * dayMs })), /deletes older days/],
    ['a life where there was none', withTable(partitions({ expiryMs: null })), /deletes older days/],
    [
      'a column of another type',
      withTable({ columns: [...without('id'), { name: 'id', type: 'INT64', mode: 'NULLABLE' }] }),
      /id is NULLABLE INT64/,
    ],
    [
      'a column whose name has another case',
      withTable({ columns: [...without('id'), { name: 'ID', type: 'STRING', mode: 'NULLABLE' }] }),
      /ID is NULLABLE STRING, not id/,
    ],
    [
      'a foreign REQUIRED column',
      withTable({ columns: [...asDeclared.columns, { name: 'note', type: 'STRING', mode: 'REQUIRED' }] }),
      /note is REQUIRED/,
    ],
    ['no partitions', withTable({ partitioning: null }), /not partitioned/],
    ['partitions by hour', withTable(partitions({ type: 'HOUR' })), /by HOUR on time/],
  ] as const)('%s is named and never planned', (_what, observed, what) => {
    const { changes, obstacles } = planWarehouse(config, observed);
    expect(changes).toEqual([]);
    expect(obstacles.map((obstacle) => obstacle.what)).toEqual([expect.stringMatching(what)]);
  });

  describe('of declared columns', () => {
    const declared: BigQueryConfig = {
      ...config,
      columns: {
        'page.*': {
          page_Url: { from: 'data.url', type: 'STRING' },
          tags: { from: 'data.tags', type: 'ARRAY<STRING>' },
        },
      },
    };
    const has = (...more: ObservedTable['columns']): ObservedWarehouse =>
      withTable({ columns: [...asDeclared.columns, ...more] });
    const url = { name: 'page_Url', type: 'STRING', mode: 'NULLABLE' };
    const tags = { name: 'tags', type: 'STRING', mode: 'REPEATED' };

    test('they are added, and the view is made anew behind them', () => {
      expect(planWarehouse(declared, inSync)).toMatchObject({
        changes: [
          { kind: 'add-column', column: 'page_Url', type: 'STRING' },
          { kind: 'add-column', column: 'tags', type: 'ARRAY<STRING>' },
          { kind: 'replace-view', view: 'events_unique' },
        ],
        obstacles: [],
      });
    });

    test('they are there: nothing to do; not declared any more, they are somebody else’s', () => {
      expect(planWarehouse(declared, has(url, tags))).toMatchObject({ changes: [], obstacles: [] });
      expect(planWarehouse(config, has(url, tags))).toMatchObject({ changes: [], obstacles: [] });
    });

    test('a view that tells of older columns is made anew; one that tells of none is not asked', () => {
      const view = { query: viewQuery(config) };
      const observed = { ...has(url, tags), view: { ...view, columns: ['id', 'page_Url'] } };
      expect(planWarehouse(declared, observed).changes).toEqual([{ kind: 'replace-view', view: 'events_unique' }]);
      expect(planWarehouse(declared, { ...observed, view: { ...view, columns: null } }).changes).toEqual([]);
      expect(
        planWarehouse(declared, { ...observed, view: { ...view, columns: ['page_Url', 'tags'] } }).changes,
      ).toEqual([]);
    });

    test.each([
      ['another type', has({ ...url, type: 'INT64' }, tags), 'column page_Url is NULLABLE INT64, not page_Url STRING'],
      [
        'a scalar for an array',
        has(url, { ...tags, mode: 'NULLABLE' }),
        'column tags is NULLABLE STRING, not tags ARRAY<STRING>',
      ],
      [
        'an array for a scalar',
        has({ ...url, mode: 'REPEATED' }, tags),
        'column page_Url is REPEATED STRING, not page_Url STRING',
      ],
      [
        'another case',
        has({ ...url, name: 'PAGE_URL' }, tags),
        'column PAGE_URL is NULLABLE STRING, not page_Url STRING',
      ],
    ] as const)('%s is an obstacle, and nothing is changed', (_what, observed, what) => {
      const plan = planWarehouse(declared, observed);
      expect(plan.changes).toEqual([]);
      expect(plan.obstacles).toEqual([{ what, next: expect.stringMatching(/under another name/) }]);
    });
  });

  test('a dataset elsewhere cannot move', () => {
    const { changes, obstacles } = planWarehouse({ ...config, location: 'EU' }, inSync);
    expect(changes).toEqual([]);
    expect(obstacles).toMatchObject([{ what: 'the dataset is in US, not in EU' }]);
  });
});
