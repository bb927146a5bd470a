import type { Seeded } from './seeded.ts';

/** What a record must come to, decided when it is made. */
export type Meaning =
  /** A row of its own. `content` is what the row must hold, see the role's table in checker.ts. */
  | { readonly kind: 'stored'; readonly id: string; readonly content: StoredContent }
  /** The producer says again what it said before under the same id: no effect, whatever it says now. */
  | { readonly kind: 'repeat'; readonly id: string }
  /** A dead letter with this reason code. */
  | { readonly kind: 'dead'; readonly reason: string }
  /** No record to a reader: a control record, one of an aborted transaction, or deleted before it was read. */
  | { readonly kind: 'gap' };

export type StoredContent = EventContent | LineContent | ViewContent;

export interface EventContent {
  readonly table: 'events';
  readonly type: 'account.changed' | 'account.closed';
  readonly account: string;
  /** Rises by 1 with each valid event of the account. */
  readonly seq: number;
  readonly amount: number;
  readonly note: string;
}

export interface LineContent {
  readonly table: 'logs';
  readonly body: string;
  readonly service: string;
  readonly n: number;
}

export interface ViewContent {
  readonly table: 'views';
  readonly n: number;
  readonly note: string;
}

export interface MadeRecord {
  readonly key: string | null;
  readonly partition: number;
  readonly value: Buffer | null;
  readonly meaning: Meaning;
}

/** Answers the next record. */
export type RecordMaker = () => MadeRecord;

export const accountCount = 40;
const source = '/faults';
const startMs = Date.UTC(2026, 10, 1);
/** Text that breaks a COPY in text format, and what JSON, UTF-8 and SQL have in special characters. */
const notes = ['plain', 'tab\tand\nline', '\\.', '\\N', `quote ' " \\`, 'ünïcødé 🙂', 'x'.repeat(400)] as const;

/** Events of accounts; the key, an account, orders. Broken ones and repeats come in between, repeats in phases. */
export function eventMaker(random: Seeded, partitions: number): RecordMaker {
  const lastSeq = new Map<number, number>();
  const recentIds = new Map<number, string[]>();
  let made = 0;
  return () => {
    made += 1;
    const number = random.below(accountCount);
    const account = `account-${number}`;
    const partition = number % partitions;
    const record = (value: Buffer | null, meaning: Meaning): MadeRecord => ({
      key: account,
      partition,
      value,
      meaning,
    });
    const recent = recentIds.get(number) ?? [];
    const repeatsPhase = made % 4000 < 600;
    if (repeatsPhase && recent.length > 0 && random.chance(0.05)) {
      const id = random.pick(recent as [string, ...string[]]);
      const data = { account, seq: -1, amount: 1_000_000, note: 'said again' };
      return record(event({ id, type: 'account.changed', data }), { kind: 'repeat', id });
    }
    if (random.chance(0.03)) {
      const id = `broken-${made}`;
      const { value, reason } = brokenEvent(random, id, account);
      return record(value, { kind: 'dead', reason });
    }
    const seq = (lastSeq.get(number) ?? 0) + 1;
    lastSeq.set(number, seq);
    const id = `${account}/${seq}`;
    recentIds.set(number, [...recent, id].slice(-20));
    const type = random.chance(0.05) ? 'account.closed' : 'account.changed';
    const data = { account, seq, amount: random.below(10_000) - 3000, note: random.pick(notes) };
    return record(event({ id, type, data, time: new Date(startMs + made).toISOString() }), {
      kind: 'stored',
      id,
      content: { table: 'events', type, ...data },
    });
  };
}

function event(members: object): Buffer {
  return Buffer.from(JSON.stringify({ specversion: '1.0', source, ...members }));
}

/** `account.forbidden` is refused by a constraint that the test's table has: PostgreSQL's refusals take another way. */
function brokenEvent(random: Seeded, id: string, account: string): { value: Buffer | null; reason: string } {
  const data = { account, seq: -1, amount: 1, note: 'broken' };
  const type = 'account.changed';
  return random.pick<() => { value: Buffer | null; reason: string }>([
    () => ({ value: event({ id, type, data }).subarray(0, -3), reason: 'malformed_json' }),
    () => ({ value: Buffer.concat([event({ id, type, data }), Buffer.from([0xff])]), reason: 'invalid_utf8' }),
    () => ({ value: null, reason: 'null_value' }),
    () => ({ value: event({ id, data }), reason: 'schema' }),
    () => ({ value: event({ id, type, data, time: 'yesterday' }), reason: 'invalid_timestamp' }),
    () => ({ value: event({ id, type, data: { ...data, amount: 'many' } }), reason: 'projection_type' }),
    () => ({ value: event({ id, type: 'account.forbidden', data }), reason: 'sink_rejected' }),
  ])();
}

/** Log lines; without a key, so spread over the partitions. */
export function logMaker(random: Seeded, partitions: number): RecordMaker {
  let n = 0;
  return () => {
    n += 1;
    const partition = random.below(partitions);
    const service = `service-${random.below(5)}`;
    if (random.chance(0.02)) {
      const [value, reason] = random.pick<readonly [Buffer | null, string]>([
        [Buffer.from(`{"message":"line ${n}`), 'malformed_json'],
        [Buffer.concat([Buffer.from(`line ${n} `), Buffer.from([0xc3])]), 'invalid_utf8'],
        [null, 'null_value'],
      ]);
      return { key: null, partition, value, meaning: { kind: 'dead', reason } };
    }
    const body = `line ${n}: ${random.pick(notes)}`;
    const value = Buffer.from(JSON.stringify({ time: Date.now(), level: 'info', service, message: body, n }));
    const content: LineContent = { table: 'logs', body, service, n };
    return { key: null, partition, value, meaning: { kind: 'stored', id: `line-${n}`, content } };
  };
}

/** Page views without a key. Each record is a row of its own, also one that says again what another said. */
export function viewMaker(random: Seeded, partitions: number): RecordMaker {
  let n = 0;
  return () => {
    n += 1;
    const partition = random.below(partitions);
    const id = random.chance(0.05) ? `view-${1 + random.below(n)}` : `view-${n}`;
    if (random.chance(0.03)) {
      const value = event({ id, type: 'page.viewed', data: { n }, time: 'yesterday' });
      return { key: null, partition, value, meaning: { kind: 'dead', reason: 'invalid_timestamp' } };
    }
    const data = { n, note: random.pick(notes) };
    const value = event({ id, type: 'page.viewed', data, time: new Date(startMs + n).toISOString() });
    return { key: null, partition, value, meaning: { kind: 'stored', id, content: { table: 'views', ...data } } };
  };
}
