import fc from 'fast-check';
import { expect, test } from 'vitest';

import { layOut, type GridColumn, type GridRow } from '../../src/ui/grid.ts';

const columns: readonly GridColumn[] = [
  { title: 'GROUP' },
  { title: 'STATE', dispensable: 2 },
  { title: 'LAG', align: 'right' },
  { title: 'IN/s', dispensable: 5 },
];
const row = (...texts: readonly string[]): GridRow => ({
  key: texts[0] ?? '',
  cells: texts.map((text) => ({ text, tone: 'plain' })),
});

const titles = (
  width: number,
  rows: readonly GridRow[] = [row('kpipe-events', 'Stable 3', '1,204', '4.1k')],
): readonly string[] => layOut(columns, rows, width).map(({ column, width: cell }) => `${column.title}:${cell}`);

test('columns are as wide as what is in them', () => {
  expect(titles(80)).toEqual(['GROUP:12', 'STATE:8', 'LAG:5', 'IN/s:4']);
});

test('in a narrow terminal the most dispensable go first, and what must stay is cut', () => {
  expect(titles(34)).toEqual(['GROUP:12', 'STATE:8', 'LAG:5']);
  expect(titles(20)).toEqual(['GROUP:12', 'LAG:5']);
  expect(titles(15)).toEqual(['GROUP:8', 'LAG:5']);
  expect(titles(60, [row('x'.repeat(300), '', 'y'.repeat(200), '')])).toEqual(['GROUP:29', 'LAG:29']);
});

test('the line fits from 60 columns on, whatever is in it', () => {
  const cells = fc.array(fc.string({ maxLength: 200, size: 'max' }), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(cells, { maxLength: 5 }), fc.integer({ min: 60, max: 250 }), (texts, width) => {
      const placed = layOut(
        columns,
        texts.map((cell) => row(...cell)),
        width,
      );
      const total = placed.reduce((sum, column) => sum + column.width + 2, -2);
      expect(total).toBeLessThanOrEqual(width);
      expect(placed.map(({ column }) => column.title)).toEqual(expect.arrayContaining(['GROUP', 'LAG']));
    }),
  );
});
