import { describe, expect, inject, test } from 'vitest';

import { readRows } from '../../src/lib/bigquery/warehouse.ts';
import type { OutgoingRecord } from '../../src/lib/ports.ts';
import { verifyRole } from '../../src/lib/verify/verify-role.ts';
import { nastyCases, nastyOutcomes, nastyRecord, type NastyCase } from '../support/nasty-cases.ts';
import { encodeProduced } from '../support/record-batches.ts';
import { rawProduce } from '../support/raw-produce.ts';
import { rolePipelines, type RolePipeline, type StoredDeadLetter } from '../support/role-pipeline.ts';
import { seeded, type Seeded } from '../support/seeded.ts';

/** All of the corpus through Kafka, a role and its store, among good records, in an order that the seed gives. */
const pipelines = await rolePipelines();
const largeBytes = 1_000_000;

interface Sent {
  readonly nasty: NastyCase | null;
  readonly id: string;
  readonly record: OutgoingRecord;
}

/** A case, and up to three good records behind it. Cases of one group keep their order. */
function shuffled(role: NastyCase['topic'], random: Seeded): readonly Sent[] {
  const cases = nastyCases.filter(({ topic }) => topic === role);
  const order = cases.map((nasty) => ({ nasty, at: random.number() })).toSorted((left, right) => left.at - right.at);
  const grouped = cases.filter(({ group }) => group !== undefined).values();
  return order.flatMap(({ nasty: drawn }, index): Sent[] => {
    const nasty = drawn.group === undefined ? drawn : (grouped.next().value ?? drawn);
    const { timestampMs, ...record } = nastyRecord(nasty);
    const good = Array.from({ length: random.below(4) }, (_, number): Sent => {
      const id = `good-${index}-${number}`;
      const value = role === 'logs' ? { message: id } : { id, type: 'order.updated', data: { v: 1 } };
      return { nasty: null, id, record: { key: null, value: Buffer.from(JSON.stringify(value)) } };
    });
    const sent = { ...record, ...(timestampMs === null ? {} : { timestampMs }) };
    return [{ nasty, id: nasty.id ?? nasty.name, record: sent }, ...good];
  });
}

/** In order, so that a record's place in the list is its offset. What no broker takes as it is, goes compressed. */
async function send(role: RolePipeline, sent: readonly Sent[]): Promise<void> {
  const { brokers } = await pipelines.admin.describeCluster();
  const { topics } = await pipelines.admin.fetchTopicMetadata({ topics: [role.topic] });
  const leader = brokers.find(({ nodeId }) => nodeId === topics[0]?.partitions[0]?.leader)!;
  let waiting: OutgoingRecord[] = [];
  for (const { record } of sent) {
    if ((record.value?.length ?? 0) <= largeBytes + 1000) {
      waiting.push(record);
      continue;
    }
    await role.send(waiting);
    waiting = [];
    const { key, value, headers = [], timestampMs = Date.now() } = record;
    const batch = encodeProduced([{ key, value, headers, timestampMs }], 'gzip');
    await rawProduce({ host: leader.host, port: leader.port, topic: role.topic, partition: 0, batch });
  }
  await role.send(waiting);
}

interface Found {
  readonly offset: bigint;
  readonly id: string;
  /** By the path that the case asks for. */
  readonly textAt: (path: readonly string[]) => string | null;
}

async function rowsOf(role: RolePipeline): Promise<readonly Found[]> {
  if (role.role === 'analytics') {
    const rows = await readRows(role.config.bigquery!, { topic: role.topic });
    return rows.map(({ offset, id, data }) => ({ offset, id, textAt: (path) => numberText(data, path.slice(1)) }));
  }
  const paths = nastyCases.flatMap(({ assert }) => (assert === undefined ? [] : [assert.path]));
  if (role.role === 'logs') {
    const rows = await pipelines.query('select kafka_offset, body, service_name from kpipe.logs where topic = $1', [
      role.topic,
    ]);
    return rows.map((row) => ({
      offset: BigInt(String(row['kafka_offset'])),
      id: String(row['body']),
      textAt: ([column]) => (row[column === 'service' ? 'service_name' : 'body'] ?? null) as string | null,
    }));
  }
  const rows = await pipelines.query(
    `select kafka_offset, id, (select jsonb_object_agg(p, e.data #>> (select array_agg(value) from jsonb_array_elements_text(p::jsonb)))
                                 from unnest($2::text[]) p) as texts
       from kpipe.events e where topic = $1`,
    [role.topic, [...new Set(paths.map((path) => JSON.stringify(path.slice(1))))]],
  );
  return rows.map((row) => ({
    offset: BigInt(String(row['kafka_offset'])),
    id: String(row['id']),
    textAt: (path) => (row['texts'] as Record<string, string | null>)[JSON.stringify(path.slice(1))] ?? null,
  }));
}

/** BigQuery keeps the document's text: a number as it was written. */
function numberText(data: string | null, path: readonly string[]): string | null {
  const source = JSON as unknown as {
    parse: (text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown) => unknown;
  };
  const parsed = source.parse(data ?? 'null', (_key, value, { source: text }) =>
    typeof value === 'number' ? text : value,
  );
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null)?.[key], parsed) as
    | string
    | null;
}

function outcomeOf(
  { nasty, id, record }: Sent,
  offset: bigint,
  rows: readonly Found[],
  letters: readonly StoredDeadLetter[],
): string {
  const buried = letters.filter((letter) => letter.offset === offset);
  const own = rows.filter((row) => row.offset === offset);
  // The second of two events with one identity changes nothing: the first is the row.
  const row =
    own[0] ?? (buried.length === 0 ? rows.find((each) => nasty?.topic !== 'logs' && each.id === id) : undefined);
  if (buried.length + own.length > 1) {
    return `${own.length} rows and ${buried.length} dead letters`;
  }
  const [letter] = buried;
  if (letter !== undefined) {
    const { headers, value } = letter;
    const whole = value === null ? record.value === null : record.value?.equals(value) === true;
    const pointer = headers['kpipe.value-omitted'] === String(record.value?.length);
    return `dlq:${headers['kpipe.reason']}${whole || pointer ? '' : ', with another value'}`;
  }
  if (row === undefined) {
    return 'lost';
  }
  const asked = nasty?.assert;
  return asked === undefined || own.length === 0 || row.textAt(asked.path) === asked.text
    ? 'stored'
    : `stored with ${JSON.stringify(row.textAt(asked.path))}`;
}

const roles =
  inject('servers').bigquery === null ? (['events', 'logs'] as const) : (['events', 'logs', 'analytics'] as const);

describe('records that break pipelines', () => {
  test.each(roles.flatMap((role) => (role === 'analytics' ? [1] : [1, 2]).map((seed) => [role, seed] as const)))(
    'role %s, in the order of seed %i',
    { timeout: 240_000 },
    async (name, seed) => {
      const role = await pipelines.open({
        role: name,
        settings: { batch: { maxRows: 25, maxWait: '100ms' } },
      });
      const sent = shuffled(name, seeded(seed));
      await send(role, sent);
      const result = await role.consume();
      const [rows, letters] = [await rowsOf(role), await role.deadLetters()];
      const wrong = sent.flatMap((each, index) => {
        const outcome = outcomeOf(each, BigInt(index), rows, letters);
        const right = each.nasty === null ? ['stored'] : nastyOutcomes(each.nasty);
        return right.includes(outcome) ? [] : [`${each.nasty?.name ?? each.id}: ${outcome}, not ${right.join(' or ')}`];
      });
      expect(wrong).toEqual([]);
      expect(result.totals.records).toBe(sent.length);
      if (name !== 'analytics') {
        const options = {
          deep: true,
          signal: new AbortController().signal,
          now: Date.now,
          onProgress: () => undefined,
        };
        const verified = await verifyRole(role.config, name, options);
        expect([verified.findings, verified.balanced]).toEqual([[], true]);
      }
    },
  );
});
