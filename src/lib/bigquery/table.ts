import type { TableMetadata } from '@google-cloud/bigquery';

import type { BigQueryConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { clusterColumns, columns, partitionColumn, sqlType, standardType, type Column } from './columns.ts';
import { openDeadlineMs, type BigQueryConnection } from './connection.ts';
import { bigQueryFailure, httpStatusOf, isNotFound, tablePath } from './failures.ts';
import { declaredColumns } from './typed-columns.ts';

export interface TableReady {
  /** What was missing and is there now. */
  readonly created: { readonly dataset: boolean; readonly table: boolean };
  /** Options that the table does not have as declared: told, never changed here. */
  readonly notes: readonly string[];
}

/**
 * Makes the dataset and the table where they are missing, and looks whether a table that is there can take our rows. It
 * never changes what exists.
 * @throws KPIPE_SCHEMA_MISSING naming the columns that a table lacks; KPIPE_BIGQUERY_… otherwise
 */
export async function ensureTable(connection: BigQueryConnection): Promise<TableReady> {
  const { config } = connection;
  try {
    return await withDeadline(ensure(connection), openDeadlineMs, `no answer about table ${tablePath(config)}`);
  } catch (error) {
    throw bigQueryFailure(`looking for the table ${tablePath(config)}`, error, config);
  }
}

async function ensure(connection: BigQueryConnection): Promise<TableReady> {
  const { config, rest } = connection;
  const dataset = rest.dataset(config.dataset);
  const [datasetExists] = await dataset.exists();
  if (!datasetExists) {
    await createDataset(connection);
  }
  const found = await readMetadata(connection);
  if (found !== null) {
    return { created: { dataset: !datasetExists, table: false }, notes: inspect(found, config) };
  }
  const notes = await createTable(connection);
  const made = (await readMetadata(connection)) ?? { schema: wantedSchema(config), ...wantedOptions(config) };
  return { created: { dataset: !datasetExists, table: true }, notes: [...notes, ...inspect(made, config)] };
}

async function readMetadata({ config, rest }: BigQueryConnection): Promise<TableMetadata | null> {
  try {
    const answer = await rest.dataset(config.dataset).table(config.table).getMetadata();
    return answer[0] as TableMetadata;
  } catch (error) {
    if (isNotFound(error)) {
      return null;
    }
    throw error;
  }
}

/** Unless it is there. */
export async function createDataset({ config, rest }: BigQueryConnection): Promise<void> {
  await unlessThere(() =>
    rest.createDataset(config.dataset, config.location === undefined ? {} : { location: config.location }),
  );
}

/** With every option; a stand-in that knows one of them not gets the bare table, and the caller a note. */
export async function createTable({ config, rest }: BigQueryConnection): Promise<readonly string[]> {
  const schema = wantedSchema(config);
  const options = wantedOptions(config);
  const create = (metadata: TableMetadata): Promise<void> =>
    unlessThere(() => rest.dataset(config.dataset).createTable(config.table, metadata));
  try {
    await create({ schema, ...options });
    return [];
  } catch (error) {
    const status = httpStatusOf(error);
    if (config.endpoint === undefined || status === undefined || ![400, 404, 500, 501].includes(status)) {
      throw error;
    }
    await create({ schema });
    return [`${config.endpoint} refused ${Object.keys(options).join(', ')}: the table was made without them`];
  }
}

/** Two roles that start together make it once. */
async function unlessThere(create: () => Promise<unknown>): Promise<void> {
  try {
    await create();
  } catch (error) {
    if (httpStatusOf(error) !== 409) {
      throw error;
    }
  }
}

/** kpipe's own columns, and those that kpipe.yaml declares. */
export function wantedColumns({ columns: declared }: Pick<BigQueryConfig, 'columns'>): readonly Column[] {
  return [...columns, ...declaredColumns(declared)];
}

function wantedSchema(config: BigQueryConfig): { fields: Column[] } {
  return {
    fields: wantedColumns(config).map(({ name, type, mode, description }) => ({ name, type, mode, description })),
  };
}

function wantedOptions(config: BigQueryConfig) {
  const expiry = config.expiry === undefined ? {} : { expirationMs: String(config.expiry) };
  return {
    timePartitioning: { type: 'DAY', field: partitionColumn, ...expiry },
    requirePartitionFilter: true,
    clustering: { fields: [...clusterColumns] },
  };
}

/** Why rows with the declared columns do not fit the table as it is now. @throws KPIPE_BIGQUERY_… */
export async function declaredColumnProblems(
  connection: BigQueryConnection,
  declared: readonly Column[],
): Promise<readonly string[]> {
  const { config } = connection;
  try {
    const metadata = await withDeadline(readMetadata(connection), openDeadlineMs, 'no answer about the table');
    return metadata === null ? ['the table is not there'] : columnProblems(metadata, [...columns, ...declared]);
  } catch (error) {
    throw bigQueryFailure(`looking for the columns of ${tablePath(config)}`, error, config);
  }
}

/** Throws where our rows would not fit; notes where the table merely differs. */
function inspect(metadata: TableMetadata, config: BigQueryConfig): readonly string[] {
  const problems = columnProblems(metadata, wantedColumns(config));
  if (problems.length > 0) {
    throw new KpipeError(
      'KPIPE_SCHEMA_MISSING',
      `table ${tablePath(config)} cannot take analytics rows: ${problems.join('; ')}`,
      {
        where: { table: tablePath(config) },
        next: `name another bigquery.table in kpipe.yaml, or add what is missing by \`kpipe warehouse apply\`: ${addColumns(metadata, config)}`,
      },
    );
  }
  return optionNotes(metadata, config);
}

export interface Field {
  readonly name?: string;
  readonly type?: string;
  readonly mode?: string;
}

export function fieldsOf(metadata: TableMetadata): readonly Field[] {
  const schema: unknown = metadata.schema;
  const fields: unknown = typeof schema === 'object' && schema !== null && 'fields' in schema ? schema.fields : [];
  return Array.isArray(fields) ? fields.filter((item): item is Field => typeof item === 'object' && item !== null) : [];
}

/** Why rows with these columns do not fit the table; empty: they do. */
function columnProblems(metadata: TableMetadata, wanted: readonly Column[]): readonly string[] {
  const fields = fieldsOf(metadata);
  const lacking = wanted.flatMap((column) => {
    const field = fields.find((candidate) => candidate.name === column.name);
    if (field === undefined) {
      return [`no column ${column.name}`];
    }
    const actual = standardType(field.type ?? '?');
    return actual === column.type && (field.mode === 'REPEATED') === (column.mode === 'REPEATED')
      ? []
      : [`${column.name} is ${field.mode ?? ''} ${actual}, not ${sqlType(column)}`];
  });
  const ours: ReadonlySet<string> = new Set(wanted.map(({ name }) => name));
  const demanding = fields.filter(({ name, mode }) => mode === 'REQUIRED' && !ours.has(name ?? ''));
  return [
    ...lacking,
    ...demanding.map(({ name }) => `column ${name ?? '?'} is REQUIRED and kpipe has no value for it`),
  ];
}

function addColumns(metadata: TableMetadata, config: BigQueryConfig): string {
  const present = new Set(fieldsOf(metadata).map(({ name }) => name));
  const missing = wantedColumns(config).filter(({ name }) => !present.has(name));
  const clauses = missing.map((column) => `ADD COLUMN ${column.name} ${sqlType(column)}`);
  return clauses.length === 0
    ? '(nothing: the types differ)'
    : `ALTER TABLE \`${tablePath(config)}\` ${clauses.join(', ')}`;
}

function optionNotes(metadata: TableMetadata, config: BigQueryConfig): readonly string[] {
  const { timePartitioning, clustering, requirePartitionFilter } = metadata;
  const path = tablePath(config);
  const notes: string[] = [];
  if (timePartitioning?.field !== partitionColumn || timePartitioning.type !== 'DAY') {
    notes.push(`${path} is not partitioned by day on ${partitionColumn}: queries read more than they need`);
  }
  if (clustering?.fields?.join() !== clusterColumns.join()) {
    notes.push(`${path} is not clustered by ${clusterColumns.join(', ')}`);
  }
  if (requirePartitionFilter !== true && timePartitioning?.requirePartitionFilter !== true) {
    notes.push(
      `${path} does not report require_partition_filter: a query without a bound on ${partitionColumn} reads everything`,
    );
  }
  const expiry = timePartitioning?.expirationMs;
  if ((expiry ?? undefined) !== (config.expiry === undefined ? undefined : String(config.expiry))) {
    notes.push(
      `${path} expires its partitions after ${expiry ?? 'never'} ms, kpipe.yaml says ${config.expiry ?? 'never'}`,
    );
  }
  return notes;
}
