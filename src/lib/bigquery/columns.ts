/** The types of columns that kpipe writes. */
export type ColumnType =
  | 'STRING'
  | 'INT64'
  | 'NUMERIC'
  | 'BIGNUMERIC'
  | 'FLOAT64'
  | 'BOOL'
  | 'TIMESTAMP'
  | 'DATE'
  | 'JSON';

/** A column as BigQuery's schemas tell it: an array is a REPEATED column of its elements' type. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly mode: 'REQUIRED' | 'NULLABLE' | 'REPEATED';
  readonly description: string;
}

/**
 * What every row of analytics has: one list, from which the table's schema, the wire descriptor of a row and the check of
 * an existing table are made. `encode.ts` writes the fields in this order, so that a field's number is its place here;
 * columns that kpipe.yaml declares (`typed-columns.ts`) come after them.
 */

export const columns = [
  {
    name: 'id',
    type: 'STRING',
    mode: 'REQUIRED',
    description: 'CloudEvents id; with source, what the producer calls it',
  },
  { name: 'source', type: 'STRING', mode: 'REQUIRED', description: 'CloudEvents source' },
  { name: 'type', type: 'STRING', mode: 'REQUIRED', description: 'CloudEvents type' },
  { name: 'subject', type: 'STRING', mode: 'NULLABLE', description: 'CloudEvents subject' },
  { name: 'time', type: 'TIMESTAMP', mode: 'REQUIRED', description: 'when it happened, by its producer' },
  { name: 'kafka_topic', type: 'STRING', mode: 'REQUIRED', description: 'topic of the record' },
  { name: 'kafka_partition', type: 'INT64', mode: 'REQUIRED', description: 'partition of the record' },
  {
    name: 'kafka_offset',
    type: 'INT64',
    mode: 'REQUIRED',
    description: 'offset of the record: with topic and partition, unique',
  },
  { name: 'ingested_at', type: 'TIMESTAMP', mode: 'REQUIRED', description: 'when kpipe read the record' },
  { name: 'data', type: 'JSON', mode: 'NULLABLE', description: 'CloudEvents data, as sent' },
  { name: 'extensions', type: 'JSON', mode: 'NULLABLE', description: 'CloudEvents extension attributes' },
] as const satisfies readonly Column[];

export type ColumnName = (typeof columns)[number]['name'];

/** Rows are partitioned by day on this column; every query has to bound it. */
export const partitionColumn: ColumnName = 'time';
export const clusterColumns: readonly ColumnName[] = ['type', 'source'];

/** What BigQuery stores as TIMESTAMP: 0001-01-01 up to the last microsecond of 9999, in microseconds since 1970. */
export const minTimestampMicros = -62_135_596_800_000_000n;
export const maxTimestampMicros = 253_402_300_799_999_999n;

/** A column's field number in an encoded row. */
export function fieldNumber(name: ColumnName): number {
  return columns.findIndex((column) => column.name === name) + 1;
}

const wireTypes = {
  STRING: 'TYPE_STRING',
  JSON: 'TYPE_STRING',
  NUMERIC: 'TYPE_STRING',
  BIGNUMERIC: 'TYPE_STRING',
  INT64: 'TYPE_INT64',
  TIMESTAMP: 'TYPE_INT64',
  DATE: 'TYPE_INT32',
  FLOAT64: 'TYPE_DOUBLE',
  BOOL: 'TYPE_BOOL',
} as const satisfies Readonly<Record<ColumnType, string>>;

/** The part of a DescriptorProto that names the fields of a row. */
export interface RowDescriptor {
  readonly name: string;
  readonly field: {
    readonly name: string;
    readonly number: number;
    readonly label: 'LABEL_OPTIONAL' | 'LABEL_REPEATED';
    readonly type: (typeof wireTypes)[ColumnType];
  }[];
}

/**
 * What the Storage Write API decodes rows by. JSON and exact decimals travel as text, a TIMESTAMP as int64 microseconds, a
 * DATE as int32 days: https://cloud.google.com/bigquery/docs/supported-data-types
 */
export function rowDescriptor(typed: readonly Column[]): RowDescriptor {
  return {
    name: 'AnalyticsRow',
    field: [...columns, ...typed].map(({ name, type, mode }, index) => ({
      name,
      number: index + 1,
      label: mode === 'REPEATED' ? 'LABEL_REPEATED' : 'LABEL_OPTIONAL',
      type: wireTypes[type],
    })),
  };
}

/** `INT64` or `ARRAY<INT64>`. */
export function sqlType({ type, mode }: Pick<Column, 'type' | 'mode'>): string {
  return mode === 'REPEATED' ? `ARRAY<${type}>` : type;
}

const legacyNames: Readonly<Record<string, string>> = { INTEGER: 'INT64', FLOAT: 'FLOAT64', BOOLEAN: 'BOOL' };

/** BigQuery's REST API answers with the names of its older SQL. */
export function standardType(type: string): string {
  return legacyNames[type] ?? type;
}
