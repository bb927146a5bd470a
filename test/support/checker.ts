import type { Client } from 'pg';

import type { EventContent, StoredContent } from './fault-records.ts';
import type { FaultPipeline } from './fault-pipeline.ts';
import type { JournalEntry, JournalledProducer } from './journalled-producer.ts';
import type { TopicReader } from './topic-reader.ts';

/**
 * Holds PostgreSQL, the dead letter topic and the group's commits against the producer's journal. It shares no code with
 * the roles' sinks, and reads by its own SQL.
 *
 * The model: the journal up to a role's positions says exactly what the database holds, at any instant, since rows,
 * effects, counters and position move together. So each check advances the model to the positions that it finds, in one
 * snapshot, and compares everything.
 */
export interface CheckReport {
  /** Sum of the positions. */
  readonly position: bigint;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLetters: number;
  /** Dead letters that are in their topic more than once: written, then killed before the position moved. */
  readonly repeatedDeadLetters: number;
}

interface PartitionModel {
  position: bigint;
  stored: number;
  duplicates: number;
  deadLetters: number;
  gaps: number;
  /** `partition/offset` of what must be in the dead letter topic. */
  readonly deadIdentities: string[];
}

interface Account {
  readonly content: EventContent;
  readonly partition: number;
  readonly offset: bigint;
}

interface OffsetRow {
  readonly partition: number;
  readonly next_offset: string;
  readonly first_offset: string;
  readonly stored: string;
  readonly duplicates: string;
  readonly dead_letters: string;
  readonly skipped: string;
  readonly gaps: string;
}

/** A stored row by what it says; compared as a whole. */
interface StoredRow {
  readonly partition: number;
  readonly offset: bigint;
  readonly id: string;
  readonly content: StoredContent;
}

export class DeliveryChecker {
  readonly #pipeline: FaultPipeline;
  readonly #producer: JournalledProducer;
  /** Opened with the first check, when the brokers are in order. */
  #deadLetters: TopicReader | null = null;
  readonly #partitions: PartitionModel[];
  /** The last event of each account so far; null: it is closed. */
  readonly #accounts = new Map<string, Account | null>();
  readonly #balances = new Map<string, { total: number; events: number }>();

  private constructor(pipeline: FaultPipeline, producer: JournalledProducer) {
    this.#pipeline = pipeline;
    this.#producer = producer;
    this.#partitions = Array.from({ length: pipeline.partitions }, () => ({
      position: 0n,
      stored: 0,
      duplicates: 0,
      deadLetters: 0,
      gaps: 0,
      deadIdentities: [],
    }));
  }

  static async open(pipeline: FaultPipeline, producer: JournalledProducer): Promise<DeliveryChecker> {
    if (pipeline.role === 'events') {
      await pipeline.database.query(watchEffects);
    }
    return new DeliveryChecker(pipeline, producer);
  }

  /** After a kill: everything below the positions has had its one effect, and nothing else has. @throws DeliveryViolation */
  async check(): Promise<CheckReport> {
    const mirrored = await this.#committedByGroup();
    const database = this.#pipeline.database;
    await database.query('begin isolation level repeatable read read only');
    try {
      const offsets = await this.#offsets(database);
      for (const { partition, next_offset: next } of offsets) {
        await this.#advance(database, partition, BigInt(next));
      }
      this.#checkCounters(offsets);
      await this.#checkTotals(database);
      if (this.#pipeline.role === 'events') {
        await this.#checkAccounts(database);
        await this.#checkOrder(database);
      }
    } finally {
      await database.query('rollback');
    }
    for (const [partition, offset] of mirrored) {
      const { position } = this.#model(partition);
      must(
        offset <= position,
        `the group's commit of partition ${partition} is ${offset}, beyond the stored position ${position}`,
      );
    }
    return this.#checkDeadLetters('so far');
  }

  /** After the drain: besides, nothing is left, and every row of the run is as it was made. */
  async checkDrained(): Promise<CheckReport> {
    const report = await this.check();
    const ends = await this.#pipeline.admin.fetchTopicOffsets(this.#pipeline.topic);
    for (const { partition, high } of ends) {
      const { position } = this.#model(partition);
      const acked = this.#producer.acked(partition);
      equal(String(acked.length), high, `records acked in partition ${partition} against its log end offset`);
      equal(position, BigInt(high), `position of partition ${partition} against its log end offset`);
      await this.#checkRows(this.#pipeline.database, partition, 0n, position);
    }
    const mirrored = new Map(await this.#committedByGroup());
    for (const { partition, high } of ends) {
      equal(
        mirrored.get(partition) ?? 0n,
        BigInt(high),
        `the group's commit of partition ${partition} after the drain`,
      );
    }
    await this.#checkDeadLetters('exactly');
    return report;
  }

  #model(partition: number): PartitionModel {
    const model = this.#partitions[partition];
    must(model !== undefined, `partition ${partition} is none of the topic's`);
    return model;
  }

  async #committedByGroup(): Promise<readonly (readonly [number, bigint])[]> {
    const { admin, group, topic } = this.#pipeline;
    const answers = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    return answers.flatMap(({ partitions }) =>
      partitions.flatMap(({ partition, offset }) =>
        BigInt(offset) < 0n ? [] : [[partition, BigInt(offset)] as const],
      ),
    );
  }

  async #offsets(database: Client): Promise<readonly OffsetRow[]> {
    const { rows } = await database.query<OffsetRow>(
      `select partition, next_offset, first_offset, stored, duplicates, dead_letters, skipped, gaps
         from kpipe.consumer_offset where role = $1 and topic = $2 order by partition`,
      [this.#pipeline.role, this.#pipeline.topic],
    );
    return rows;
  }

  /** Moves the model to the position, and compares the rows that this brings. */
  async #advance(database: Client, partition: number, next: bigint): Promise<void> {
    const model = this.#model(partition);
    const acked = this.#producer.acked(partition);
    must(
      next <= BigInt(acked.length),
      `position ${next} of partition ${partition} is beyond the ${acked.length} records acked`,
    );
    must(next >= model.position, `position of partition ${partition} went back from ${model.position} to ${next}`);
    const from = model.position;
    for (const entry of acked.slice(Number(from), Number(next))) {
      this.#apply(model, entry);
    }
    model.position = next;
    await this.#checkRows(database, partition, from, next);
  }

  #apply(model: PartitionModel, { partition, offset, meaning }: JournalEntry): void {
    if (meaning.kind === 'repeat') {
      model.duplicates += 1;
      return;
    }
    if (meaning.kind === 'gap') {
      model.gaps += 1;
      return;
    }
    if (meaning.kind === 'dead') {
      model.deadLetters += 1;
      model.deadIdentities.push(`${partition}/${offset}`);
      return;
    }
    model.stored += 1;
    const { content } = meaning;
    if (content.table === 'events') {
      const account = { content, partition, offset: offset ?? -1n };
      this.#accounts.set(content.account, content.type === 'account.closed' ? null : account);
      const balance = this.#balances.get(content.account) ?? { total: 0, events: 0 };
      this.#balances.set(content.account, { total: balance.total + content.amount, events: balance.events + 1 });
    }
  }

  /** The rows of a range are those that the journal says: none missing, none twice, none changed. */
  async #checkRows(database: Client, partition: number, from: bigint, next: bigint): Promise<void> {
    const expected = this.#producer
      .acked(partition)
      .slice(Number(from), Number(next))
      .flatMap(({ offset, meaning }): StoredRow[] =>
        meaning.kind === 'stored'
          ? [{ partition, offset: offset ?? -1n, id: meaning.id, content: meaning.content }]
          : [],
      );
    const read = this.#pipeline.role === 'logs' ? readLines : readEvents;
    const found = await read(database, this.#pipeline.topic, partition, from, next);
    const text = (row: StoredRow | undefined): string =>
      JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)) ?? 'no row';
    for (let index = 0; index < Math.max(expected.length, found.length); index += 1) {
      equal(
        text(found[index]),
        text(expected[index]),
        `row ${index} of partition ${partition}, offsets ${from} to ${next}`,
      );
    }
  }

  #checkCounters(offsets: readonly OffsetRow[]): void {
    for (const row of offsets) {
      const { position, stored, duplicates, deadLetters, gaps } = this.#model(row.partition);
      const told = [
        row.first_offset,
        row.next_offset,
        row.stored,
        row.duplicates,
        row.dead_letters,
        row.skipped,
        row.gaps,
      ];
      const expected = [0n, position, stored, duplicates, deadLetters, 0, gaps].map(String);
      const names = 'first_offset, next_offset, stored, duplicates, dead_letters, skipped, gaps';
      equal(told.join(), expected.join(), `counters of partition ${row.partition} (${names})`);
      const sum = [row.stored, row.duplicates, row.dead_letters, row.skipped, row.gaps].reduce(
        (total, count) => total + BigInt(count),
        0n,
      );
      equal(
        sum,
        BigInt(row.next_offset) - BigInt(row.first_offset),
        `sum of the counters of partition ${row.partition}`,
      );
    }
  }

  /** Rows beside those below the positions would be there without their position. */
  async #checkTotals(database: Client): Promise<void> {
    const table = this.#pipeline.role === 'logs' ? 'kpipe.logs' : 'kpipe.events';
    const { rows } = await database.query<{ partition: number; rows: number }>(
      `select partition, count(*)::int as rows from ${table} where topic = $1 group by partition`,
      [this.#pipeline.topic],
    );
    const found = new Map(rows.map((row) => [row.partition, row.rows]));
    for (const [partition, { stored }] of this.#partitions.entries()) {
      equal(found.get(partition) ?? 0, stored, `rows of partition ${partition}`);
    }
  }

  /** The projection is the last event per key; the balance, a sum that every insert adds to, has each event once. */
  async #checkAccounts(database: Client): Promise<void> {
    const accounts = await database.query<{ text: string }>(
      `select concat_ws(' ', account, seq, amount, kpipe_partition, kpipe_offset) as text from public.accounts order by account collate "C"`,
    );
    const open = [...this.#accounts].flatMap(([name, account]) =>
      account === null
        ? []
        : [[name, account.content.seq, account.content.amount, account.partition, account.offset].join(' ')],
    );
    equal(
      accounts.rows.map(({ text }) => text).join('\n'),
      sortedLines(open),
      'public.accounts (account seq amount partition offset)',
    );
    const balances = await database.query<{ text: string }>(
      `select concat_ws(' ', account, total, events) as text from public.balances order by account collate "C"`,
    );
    const sums = [...this.#balances].map(([account, { total, events }]) => [account, total, events].join(' '));
    equal(
      balances.rows.map(({ text }) => text).join('\n'),
      sortedLines(sums),
      'public.balances (account total events)',
    );
  }

  /** Every change of a projected row came from a later event than the change before. */
  async #checkOrder(database: Client): Promise<void> {
    const { rows } = await database.query<{ text: string }>(
      `select account || ' was set from event ' || seq || ' after event ' || after as text from public.order_violation limit 5`,
    );
    equal(rows.map(({ text }) => text).join('; '), '', 'changes of public.accounts against their order');
  }

  /** `so far`: those below the positions are there, and none that is no dead letter. `exactly`: no others are. */
  async #checkDeadLetters(extent: 'so far' | 'exactly'): Promise<CheckReport> {
    const { topic, deadLetterTopic, openReader } = this.#pipeline;
    this.#deadLetters ??= await openReader(deadLetterTopic);
    const reader = this.#deadLetters;
    await reader.caughtUp();
    const found = new Map<string, number>();
    for (const record of reader.records) {
      const header = (name: string): string => record.headers.get(name) ?? `no header ${name}`;
      equal(header('__connect.errors.topic'), topic, 'topic of a dead letter');
      const partition = Number(header('__connect.errors.partition'));
      const offset = BigInt(header('__connect.errors.offset'));
      const entry = this.#producer.acked(partition)[Number(offset)];
      const identity = `${partition}/${offset}`;
      must(
        entry?.meaning.kind === 'dead',
        `the dead letter of ${identity} is of a record that is valid or was never sent`,
      );
      equal(header('kpipe.reason'), entry.meaning.reason, `reason of the dead letter of ${identity}`);
      equal(record.valueHash, entry.valueHash, `value of the dead letter of ${identity}`);
      equal(record.key, entry.key, `key of the dead letter of ${identity}`);
      found.set(identity, (found.get(identity) ?? 0) + 1);
    }
    const expected = this.#partitions.flatMap(({ deadIdentities }) => deadIdentities);
    for (const identity of expected) {
      must(
        found.has(identity),
        `the record ${identity} is invalid, below the position, and not in the dead letter topic`,
      );
    }
    if (extent === 'exactly') {
      equal(found.size, expected.length, 'records in the dead letter topic');
    }
    const sum = (of: (model: PartitionModel) => number): number =>
      this.#partitions.reduce((total, model) => total + of(model), 0);
    return {
      position: this.#partitions.reduce((total, model) => total + model.position, 0n),
      stored: sum(({ stored }) => stored),
      duplicates: sum(({ duplicates }) => duplicates),
      deadLetters: sum(({ deadLetters }) => deadLetters),
      repeatedDeadLetters: reader.records.length - found.size,
    };
  }
}

/** A sum that is not idempotent, and the order in which a projection changes; both in the transaction of what they watch. */
const watchEffects = `
  create table public.balances (account text primary key, total bigint not null, events bigint not null);
  create function public.add_to_balance() returns trigger language plpgsql as $$
  begin
    insert into public.balances as b
      select data->>'account', sum((data->>'amount')::bigint), count(*) from inserted group by 1
    on conflict (account) do update set total = b.total + excluded.total, events = b.events + excluded.events;
    return null;
  end $$;
  create trigger add_to_balance after insert on kpipe.events referencing new table as inserted
    for each statement execute function public.add_to_balance();

  create table public.account_seen (account text primary key, seq bigint not null);
  create table public.order_violation (account text not null, seq bigint not null, after bigint not null);
  create function public.watch_order() returns trigger language plpgsql as $$
  begin
    insert into public.order_violation
      select account, new.seq, seq from public.account_seen where account = new.account and seq >= new.seq;
    insert into public.account_seen values (new.account, new.seq) on conflict (account) do update set seq = excluded.seq;
    return null;
  end $$;
  create trigger watch_order after insert or update on public.accounts for each row execute function public.watch_order();

  alter table kpipe.events add constraint no_forbidden check (type <> 'account.forbidden');`;

async function readEvents(
  database: Client,
  topic: string,
  partition: number,
  from: bigint,
  next: bigint,
): Promise<readonly StoredRow[]> {
  const { rows } = await database.query<{
    kafka_offset: string;
    id: string;
    type: EventContent['type'];
    data: EventContent;
  }>(
    `select kafka_offset, id, type, data from kpipe.events
      where topic = $1 and partition = $2 and kafka_offset >= $3 and kafka_offset < $4
        and source = '/faults' and key = convert_to(data->>'account', 'UTF8')
      order by kafka_offset`,
    [topic, partition, from, next],
  );
  return rows.map(({ kafka_offset: offset, id, type, data: { account, seq, amount, note } }) => ({
    partition,
    offset: BigInt(offset),
    id,
    content: { table: 'events', type, account, seq, amount, note },
  }));
}

async function readLines(
  database: Client,
  topic: string,
  partition: number,
  from: bigint,
  next: bigint,
): Promise<readonly StoredRow[]> {
  const { rows } = await database.query<{
    kafka_offset: string;
    body: string;
    service_name: string;
    attributes: { n: number };
  }>(
    `select kafka_offset, body, service_name, attributes from kpipe.logs
      where topic = $1 and partition = $2 and kafka_offset >= $3 and kafka_offset < $4
      order by kafka_offset, line`,
    [topic, partition, from, next],
  );
  return rows.map(({ kafka_offset: offset, body, service_name: service, attributes: { n } }) => ({
    partition,
    offset: BigInt(offset),
    id: `line-${n}`,
    content: { table: 'logs', body, service, n },
  }));
}

function sortedLines(lines: readonly string[]): string {
  const name = (line: string): string => line.split(' ')[0] ?? '';
  return lines.toSorted((left, right) => (name(left) < name(right) ? -1 : 1)).join('\n');
}

export class DeliveryViolation extends Error {
  override readonly name = 'DeliveryViolation';
}

function must(holds: boolean, text: string): asserts holds {
  if (!holds) {
    throw new DeliveryViolation(text);
  }
}

function equal(found: unknown, expected: unknown, what: string): void {
  must(found === expected, `${what}: found ${String(found)}, expected ${String(expected)}`);
}
