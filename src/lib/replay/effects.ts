import { countRows } from '../bigquery/warehouse.ts';
import type { Config } from '../config/load.ts';
import { messageOf } from '../errors.ts';
import type { PartitionPlan, ReplayPlan } from './replay-plan.ts';

/** What reading again does to what is stored already. */
export interface ReplayEffects {
  readonly lines: readonly string[];
  /** Rows of the offsets that would be read again; null: not asked for, or not known. */
  readonly rowsThere: number | null;
  readonly rowsThereReason: string | null;
}

const none: ReplayEffects = { lines: [], rowsThere: null, rowsThereReason: 'nothing is read again' };

/** Only BigQuery is asked, and only for role analytics: its rows are appended, PostgreSQL's are not. */
export async function replayEffects(
  config: Config,
  plan: Pick<ReplayPlan, 'role' | 'topic' | 'partitions'>,
): Promise<ReplayEffects> {
  const again = plan.partitions.filter(({ rereadRecords }) => rereadRecords > 0);
  if (again.length === 0) {
    return none;
  }
  const effects = await effectsOf(config, plan, again);
  return {
    ...effects,
    lines: [...effects.lines, 'invalid records become dead letters again, of the same topic, partition and offset'],
  };
}

async function effectsOf(
  config: Config,
  plan: Pick<ReplayPlan, 'role' | 'topic'>,
  again: readonly PartitionPlan[],
): Promise<ReplayEffects> {
  switch (plan.role) {
    case 'analytics':
      return appended(config, plan.topic, again);
    case 'events':
      return { lines: eventLines(config), rowsThere: null, rowsThereReason: 'rows that are there stay as they are' };
    default:
      return {
        lines: ['log lines that are there stay as they are; lines that are missing are stored again'],
        rowsThere: null,
        rowsThereReason: 'rows that are there stay as they are',
      };
  }
}

function eventLines({ roles }: Config): readonly string[] {
  const tables = [...new Set(roles.events?.projections.map(({ table }) => table))];
  return [
    'events that are there (source, id) stay as they are; missing ones are stored again',
    ...(tables.length === 0
      ? []
      : [
          `projections are not turned back: a row of ${tables.join(', ')} keeps its newest event; missing rows come back`,
        ]),
  ];
}

async function appended(config: Config, topic: string, again: readonly PartitionPlan[]): Promise<ReplayEffects> {
  const how =
    'the table takes them a second time: read it by (source, id), or replay into a table of its own (docs/replay.md)';
  const { bigquery } = config;
  if (bigquery === undefined) {
    return { lines: [how], rowsThere: null, rowsThereReason: 'kpipe.yaml has no bigquery section' };
  }
  try {
    const counts = await Promise.all(
      again.map(({ partition, targetOffset, position }) =>
        countRows(bigquery, { topic, partition, offsets: { from: targetOffset ?? 0n, to: position ?? 0n } }),
      ),
    );
    const rows = counts.reduce((sum, count) => sum + count.rows, 0);
    return rows === 0
      ? {
          lines: ['the table has no rows of these offsets: none would be there twice'],
          rowsThere: 0,
          rowsThereReason: null,
        }
      : {
          lines: [`${rows} rows of these offsets are in the table already: ${how}`],
          rowsThere: rows,
          rowsThereReason: null,
        };
  } catch (error) {
    return { lines: [how], rowsThere: null, rowsThereReason: messageOf(error) };
  }
}
