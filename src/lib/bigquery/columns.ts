/**
 * The table that analytics lands in: one list, from which the table's schema, the wire descriptor of a row and the check of
 * an existing table are made. `encode.ts` writes the fields in this order, so that a field's number is its place here.
 */
export interface Column {
  readonly name: string;
  readonly type: 'STRING' | 'INT64' | 'TIMESTAMP' | 'JSON';
  readonly mode: 'REQUIRED' | 'NULLABLE';
  readonly description: string;
}

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

const wireTypes = { STRING: 'TYPE_STRING', JSON: 'TYPE_STRING', INT64: 'TYPE_INT64', TIMESTAMP: 'TYPE_INT64' } as const;

/**
 * The DescriptorProto that the Storage Write API decodes rows by. JSON travels as text, a TIMESTAMP as int64 microseconds:
 * https://cloud.google.com/bigquery/docs/supported-data-types
 */
export const rowDescriptor = {
  name: 'AnalyticsRow',
  field: columns.map(({ name, type }, index) => ({
    name,
    number: index + 1,
    label: 'LABEL_OPTIONAL' as const,
    type: wireTypes[type],
  })),
};
