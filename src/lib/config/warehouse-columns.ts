import { z } from 'zod';

import { columns as ownColumns } from '../bigquery/columns.ts';

const warehouseColumn = z.strictObject({
  from: z.string().regex(/^data(?:\.[^.]+)+$/, 'not a path into the data: data.NAME…'),
  type: z.enum([
    'STRING',
    'INT64',
    'NUMERIC',
    'BIGNUMERIC',
    'FLOAT64',
    'BOOL',
    'TIMESTAMP',
    'DATE',
    'JSON',
    'ARRAY<STRING>',
    'ARRAY<INT64>',
    'ARRAY<NUMERIC>',
    'ARRAY<BIGNUMERIC>',
    'ARRAY<FLOAT64>',
    'ARRAY<BOOL>',
    'ARRAY<TIMESTAMP>',
    'ARRAY<DATE>',
  ]),
});
const warehouseColumnName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,299}$/, 'not a column name: letters, digits and _, at most 300')
  .refine(
    (name) => !/^(?:_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier|_change_)/i.test(name),
    'BigQuery keeps names that begin so for itself',
  );

/** Typed columns by event type, or a pattern of it: what of an event's data has a column of its own. */
export const warehouseColumns = z
  .record(z.string().min(1).max(512), z.record(warehouseColumnName, warehouseColumn))
  .superRefine((byType, context) => {
    const seen = new Map<string, { readonly name: string; readonly type: string; readonly is: string }>(
      ownColumns.map(({ name }) => [name, { name, type: '', is: 'kpipe’s own' }]),
    );
    for (const [pattern, columns] of Object.entries(byType)) {
      for (const [name, { type }] of Object.entries(columns)) {
        // BigQuery does not tell names apart by case.
        const before = seen.get(name.toLowerCase());
        if (before !== undefined && (before.name !== name || before.type !== type)) {
          const message = `column ${before.name} is ${before.is} already: a column has one name and one type`;
          context.addIssue({ code: 'custom', path: [pattern, name], message });
        }
        seen.set(name.toLowerCase(), before ?? { name, type, is: type });
      }
    }
  });
