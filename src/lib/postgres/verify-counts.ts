import type { Stretch } from '../verify/account.ts';
import type { OffsetRange } from '../verify/offset-ranges.ts';
import { asking, inTransaction, type Pool, type PoolClient } from './pool.ts';

/** Counting goes over whole tables. */
const statementTimeoutMs = 1_800_000;

export interface VerifiedTable {
  readonly role: string;
  readonly topic: string;
  /** Kafka's: offsets of an older topic of that name say nothing about this one. */
  readonly topicId: string;
  readonly table: 'kpipe.events' | 'kpipe.logs';
}

export interface CountedStretch {
  readonly stretch: Stretch;
  readonly rows: number;
  readonly repeatedRows: number;
}

export interface RowCounts {
  readonly stretches: readonly CountedStretch[];
  /** Rows at offsets that no stretch covers. */
  readonly beyond: readonly { readonly partition: number; readonly records: number; readonly range: OffsetRange }[];
  /** Of kpipe.logs: lines of days before this one have been dropped, or may have been. UTC, in ms. */
  readonly oldestDayMs: number | null;
}

const stretches = `
  select partition, first_offset, next_offset, stored, duplicates, rereads, dead_letters, skipped, gaps, null as ended_by
    from kpipe.consumer_offset
   where role = $1 and topic = $2 and topic_id = $3
   union all
  select partition, first_offset, next_offset, stored, duplicates, rereads, dead_letters, skipped, gaps, ended_by
    from kpipe.consumer_offset_stretch
   where role = $1 and topic = $2 and topic_id = $3`;

interface StretchRow {
  readonly partition: number;
  readonly first_offset: string;
  readonly next_offset: string;
  readonly stored: string;
  readonly duplicates: string;
  readonly rereads: string;
  readonly dead_letters: string;
  readonly skipped: string;
  readonly gaps: string;
  readonly ended_by: string | null;
  readonly records: string;
  readonly repeated: string;
}

/** Counters and rows of one role and topic, as of one instant: a role that writes meanwhile changes nothing. */
export function countRows(pool: Pool, of: VerifiedTable): Promise<RowCounts> {
  return asking(pool, () =>
    inTransaction(pool, statementTimeoutMs, async (client) => {
      await client.query('set transaction isolation level repeatable read read only');
      return {
        stretches: await countStretches(client, of),
        beyond: await countBeyond(client, of),
        oldestDayMs: of.table === 'kpipe.logs' ? await oldestDay(client) : null,
      };
    }),
  );
}

async function countStretches(
  client: PoolClient,
  { role, topic, topicId, table }: VerifiedTable,
): Promise<CountedStretch[]> {
  const identity = table === 'kpipe.logs' ? '(r.kafka_offset, r.line)' : 'r.kafka_offset';
  const { rows } = await client.query<StretchRow>(
    `with stretch as (${stretches})
     select s.*, count(distinct r.kafka_offset) as records,
            count(r.kafka_offset) - count(distinct ${identity}) filter (where r.kafka_offset is not null) as repeated
       from stretch s
       left join ${table} r
         on r.topic = $2 and r.partition = s.partition
        and r.kafka_offset >= s.first_offset and r.kafka_offset < s.next_offset
      group by s.partition, s.first_offset, s.next_offset, s.stored, s.duplicates, s.rereads, s.dead_letters, s.skipped,
               s.gaps, s.ended_by
      order by s.partition, s.ended_by nulls last`,
    [role, topic, topicId],
  );
  return rows.map((row) => ({
    stretch: {
      partition: row.partition,
      firstOffset: BigInt(row.first_offset),
      nextOffset: BigInt(row.next_offset),
      stored: Number(row.stored),
      duplicates: Number(row.duplicates),
      rereads: Number(row.rereads),
      deadLetters: Number(row.dead_letters),
      skipped: Number(row.skipped),
      gaps: Number(row.gaps),
      endedBy: row.ended_by,
    },
    rows: Number(row.records),
    repeatedRows: Number(row.repeated),
  }));
}

async function countBeyond(
  client: PoolClient,
  { role, topic, topicId, table }: VerifiedTable,
): Promise<RowCounts['beyond']> {
  const { rows } = await client.query<{ partition: number; records: string; first: string; last: string }>(
    `with stretch as (${stretches})
     select r.partition, count(distinct r.kafka_offset) as records, min(r.kafka_offset) as first, max(r.kafka_offset) as last
       from ${table} r
      where r.topic = $2
        and not exists (
          select from stretch s
           where s.partition = r.partition and r.kafka_offset >= s.first_offset and r.kafka_offset < s.next_offset
        )
      group by r.partition
      order by r.partition`,
    [role, topic, topicId],
  );
  return rows.map(({ partition, records, first, last }) => ({
    partition,
    records: Number(records),
    range: { from: BigInt(first), to: BigInt(last) + 1n },
  }));
}

async function oldestDay(client: PoolClient): Promise<number | null> {
  const { rows } = await client.query<{ day: string | null }>(
    `select min(substring(c.relname from '^logs_(\\d{8})$')) as day
       from pg_inherits i
       join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'kpipe.logs'::regclass`,
  );
  const day = rows[0]?.day ?? null;
  return day === null ? null : Date.UTC(Number(day.slice(0, 4)), Number(day.slice(4, 6)) - 1, Number(day.slice(6)));
}

/** The offsets of a range that have no row, ascending. */
export function offsetsWithoutRow(
  pool: Pool,
  { topic, table }: VerifiedTable,
  partition: number,
  { from, to }: OffsetRange,
): Promise<readonly OffsetRange[]> {
  return asking(pool, () =>
    inTransaction(pool, statementTimeoutMs, async (client) => {
      const { rows } = await client.query<{ first: string; next: string }>(
        `with present as (
           select distinct kafka_offset from ${table}
            where topic = $1 and partition = $2 and kafka_offset >= $3::bigint and kafka_offset < $4::bigint
         ), hole as (
           select kafka_offset + 1 as first, lead(kafka_offset, 1, $4::bigint) over (order by kafka_offset) as next
             from present
            union all
           select $3::bigint, coalesce((select min(kafka_offset) from present), $4::bigint)
         )
         select first, next from hole where first < next order by first`,
        [topic, partition, from, to],
      );
      return rows.map(({ first, next }) => ({ from: BigInt(first), to: BigInt(next) }));
    }),
  );
}

/** Some of the offsets whose rows are there more than once. */
export function offsetsWithRepeats(
  pool: Pool,
  { topic, table }: VerifiedTable,
  partition: number,
  { from, to }: OffsetRange,
): Promise<readonly bigint[]> {
  return asking(pool, () =>
    inTransaction(pool, statementTimeoutMs, async (client) => {
      const { rows } = await client.query<{ kafka_offset: string }>(
        `select distinct kafka_offset from (
           select kafka_offset from ${table}
            where topic = $1 and partition = $2 and kafka_offset >= $3 and kafka_offset < $4
            group by kafka_offset${table === 'kpipe.logs' ? ', line' : ''}
           having count(*) > 1
         ) repeated
         order by kafka_offset
         limit 100`,
        [topic, partition, from, to],
      );
      return rows.map((row) => BigInt(row.kafka_offset));
    }),
  );
}
