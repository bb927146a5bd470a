import { Reader } from 'protobufjs';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';

import { fieldNumber } from '../../src/lib/bigquery/columns.ts';
import { connectBigQuery, type BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import { ensureTable } from '../../src/lib/bigquery/table.ts';
import { readRows } from '../../src/lib/bigquery/warehouse.ts';
import type { BigQueryConfig } from '../../src/lib/config/schema.ts';
import {
  analyticsBatch,
  analyticsRow,
  GenerationGroup,
  hookedLoadSink,
  hookedSink,
  loadSteps,
  steps,
  writeAll,
  writeUntilTold,
  type GroupMember,
  type HookedSink,
  type Step,
  type StepHook,
} from '../support/analytics-batches.ts';
import { startFakeBigQuery, type FakeBigQuery } from '../support/fake-bigquery.ts';
import { startFakeWriteApi } from '../support/fake-write-api.ts';
import { uniqueTopic } from '../support/servers.ts';

/** What the table holds of a topic: the texts that were sent. */
interface SeenRow {
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
  readonly data: string;
}

/** A way into BigQuery, against a server that plays it. */
interface Way {
  readonly steps: readonly Step[];
  member(member: GroupMember, hook: StepHook): HookedSink;
  rows(topic: string): Promise<readonly SeenRow[]>;
  close(): Promise<void>;
}

/** A way whose server does as a test says. */
interface MeanWay extends Way {
  /** The next so many requests that change something are answered so. */
  refuseRequests(count: number, answer: 429 | 500 | 503 | 'quota'): void;
  /** Rows with these offsets are refused, and named. */
  refuseRows(offsets: readonly number[]): void;
}

const config: BigQueryConfig = {
  project: 'kpipe-local',
  dataset: uniqueTopic('contract').replaceAll('-', '_'),
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
};
const { bigquery } = inject('servers');
const realTarget = process.env['KPIPE_TEST_BIGQUERY'];
if (realTarget === undefined) {
  process.stderr.write('contract: not run against Google’s BigQuery: KPIPE_TEST_BIGQUERY=project.dataset is not set\n');
}
const nothing: StepHook = () => undefined;

async function queriedRows(target: BigQueryConfig, topic: string): Promise<readonly SeenRow[]> {
  return (await readRows(target, { topic }, 10_000)).map(({ partition, offset, id, data }) => ({
    partition,
    offset: Number(offset),
    id,
    data: data ?? '',
  }));
}

/** By the emulator, or by Google. */
async function tableWay(target: BigQueryConfig): Promise<Way> {
  const connection = await connectBigQuery(target);
  await ensureTable(connection);
  const isLoad = target.write === 'load';
  return {
    steps: isLoad ? loadSteps : steps,
    member: (member, hook) =>
      isLoad ? hookedLoadSink(connection, member, hook) : hookedSink(connection, member, hook),
    rows: (topic) => queriedRows(target, topic),
    close: async () => {
      if (realTarget === undefined) {
        await connection.rest.dataset(target.dataset).delete({ force: true });
      }
      await connection.close();
    },
  };
}

async function fakeStorageWay(): Promise<MeanWay> {
  const api = await startFakeWriteApi();
  const connection = await connectBigQuery({ ...config, endpoint: 'http://127.0.0.1:9', grpcEndpoint: api.endpoint });
  const rows = (topic: string): readonly SeenRow[] =>
    api.visible.map(decodeRow).flatMap(({ topic: of, ...row }) => (of === topic ? [row] : []));
  const codes = { 429: 8, quota: 8, 500: 13, 503: 14 } as const;
  return {
    steps,
    member: (member, hook) =>
      hookedSink(connection, member, hook, ({ topic }, { from, to }) =>
        Promise.resolve(rows(topic).filter(({ offset }) => offset >= from && offset < to).length),
      ),
    rows: (topic) => Promise.resolve(rows(topic)),
    refuseRequests: (count, answer) => {
      let left = count;
      api.onAppend = () => {
        left -= 1;
        return left < 0 ? undefined : { error: { code: codes[answer], message: String(answer) } };
      };
    },
    refuseRows: (offsets) => {
      api.onAppend = (_request, sent) => {
        const rowErrors = sent
          .map((row, index) => ({ index, code: 'FIELDS_ERROR' as const, offset: decodeRow(row).offset }))
          .filter(({ offset }) => offsets.includes(offset));
        return rowErrors.length === 0 ? undefined : { error: { code: 3, message: 'rows' }, rowErrors };
      };
    },
    close: async () => {
      await connection.close();
      api.close();
    },
  };
}

async function fakeLoadWay(): Promise<
  MeanWay & { readonly fake: FakeBigQuery; readonly connection: BigQueryConnection }
> {
  const fake = await startFakeBigQuery();
  const connection = await connectBigQuery({ ...config, write: 'load', endpoint: fake.endpoint });
  await ensureTable(connection);
  const errors = {
    429: { status: 429, reason: 'rateLimitExceeded' },
    500: { status: 500, reason: 'internalError' },
    503: { status: 503, reason: 'backendError' },
    quota: { status: 403, reason: 'quotaExceeded' },
  } as const;
  return {
    fake,
    connection,
    steps: loadSteps,
    member: (member, hook) => hookedLoadSink(connection, member, hook),
    rows: (topic) =>
      Promise.resolve(
        fake.rows
          .filter((row) => row.topic === topic)
          .map(({ partition, offset, id, line }) => ({
            partition,
            offset,
            id,
            data: /,"data":(.*?)(?:,"extensions":.*)?\}$/.exec(line)?.[1] ?? '',
          })),
      ),
    refuseRequests: (count, answer) => {
      let left = count;
      fake.onRequest = ({ kind }) => {
        left -= kind === 'load' ? 1 : 0;
        return kind === 'load' && left >= 0 ? errors[answer] : undefined;
      };
    },
    refuseRows: (offsets) => {
      fake.refuse = ({ offset }) => (offsets.includes(offset) ? 'no' : undefined);
    },
    close: async () => {
      await connection.close();
      await fake.close();
    },
  };
}

function decodeRow(row: Buffer): SeenRow & { readonly topic: string } {
  const reader = Reader.create(row);
  const fields = new Map<number, string>();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    fields.set(tag >>> 3, (tag & 7) === 2 ? reader.string() : String(reader.int32()));
  }
  return {
    topic: fields.get(fieldNumber('kafka_topic')) ?? '',
    partition: Number(fields.get(fieldNumber('kafka_partition')) ?? 0),
    offset: Number(fields.get(fieldNumber('kafka_offset')) ?? 0),
    id: fields.get(fieldNumber('id')) ?? '',
    data: fields.get(fieldNumber('data')) ?? '',
  };
}

/** Every record of [0, end), except those without a row, is there once and as it was sent. */
async function expectOnce(way: Way, topic: string, end: number, without: readonly number[] = []): Promise<void> {
  const rows = [...(await way.rows(topic))].toSorted((one, other) => one.offset - other.offset);
  const wanted = Array.from({ length: end }, (_, offset) => offset).filter((offset) => !without.includes(offset));
  expect(rows).toEqual(
    wanted.map((offset) => ({ partition: 0, offset, id: `view-${offset}`, data: String(analyticsRow(offset).data) })),
  );
}

function momentsOf(all: readonly Step[]): (readonly [Step, 'before' | 'after'])[] {
  return all.flatMap((step) => [[step, 'before'] as const, [step, 'after'] as const]);
}

/** What each way has to hold, whoever plays BigQuery. */
function contract(all: readonly Step[], open: () => Way): void {
  let way: Way;
  beforeEach(() => {
    way = open();
  });

  test.each(momentsOf(all))('a crash at %s, %s it: the next owner loses and doubles nothing', async (step, when) => {
    const topic = uniqueTopic('crash');
    const group = new GenerationGroup();
    let reached = 0;
    const dying = way.member(group.join(), (at, moment) => {
      reached += at === step && moment === when ? 1 : 0;
      if (at === step && moment === when && reached === 2) {
        throw new Error('killed here');
      }
    });
    await expect(writeAll(dying, topic, 60, 20)).rejects.toThrow('killed here');
    const half = await way.rows(topic);
    expect(half.length % 20, 'half a batch is visible').toBe(0);
    await writeAll(way.member(group.join(), nothing), topic, 60, 20);
    await expectOnce(way, topic, 60);
    expect(group.commits.get(`${topic}-0`)).toEqual({ offset: 60n, metadata: '' });
  });

  test.each(momentsOf(all))(
    'a reply that is lost at %s, %s it: the same owner loses and doubles nothing',
    async (step, when) => {
      const topic = uniqueTopic('reply');
      let lost = 0;
      let armed = true;
      const member = way.member(new GenerationGroup().join(), (at, moment) => {
        if (armed && lost < 2 && at === step && moment === when) {
          lost += 1;
          throw new Error('no reply');
        }
      });
      const claim = await member.claim(topic);
      const batch = analyticsBatch(topic, 0, 20);
      for (let attempt = 1; attempt <= 3; attempt += 1) {
        const outcome = await member.sink.write(claim, batch).catch((error: unknown) => error);
        expect((await way.rows(topic)).length % 20, 'half a batch is visible').toBe(0);
        if (!(outcome instanceof Error)) {
          break;
        }
        expect(outcome.message).toBe('no reply');
      }
      expect(lost).toBeGreaterThan(0);
      armed = false;
      expect(await member.sink.write(claim, batch)).toMatchObject({ kind: 'written' });
      expect(await member.sink.write(claim, analyticsBatch(topic, 20, 30))).toMatchObject({
        kind: 'written',
        stored: 10,
      });
      await expectOnce(way, topic, 30);
    },
  );

  test.each(momentsOf(all))(
    'a zombie that sleeps at %s, %s it, and wakes after its successor changes nothing',
    async (step, when) => {
      const topic = uniqueTopic('zombie');
      const group = new GenerationGroup();
      const asleep = Promise.withResolvers<void>();
      const wake = Promise.withResolvers<void>();
      const zombie = way.member(group.join(), async (at, moment) => {
        if (at === step && moment === when) {
          asleep.resolve();
          await wake.promise;
        }
      });
      const claim = await zombie.claim(topic);
      const writing = writeUntilTold(zombie, claim, analyticsBatch(topic, 0, 20));
      await asleep.promise;
      await writeAll(way.member(group.join(), nothing), topic, 40, 20);
      wake.resolve();
      expect((await writing).kind).toBe(step === 'position' && when === 'after' ? 'written' : 'fenced');
      expect(await zombie.sink.write(claim, analyticsBatch(topic, 20, 40))).toEqual({ kind: 'fenced' });
      await expectOnce(way, topic, 40);
      expect(group.commits.get(`${topic}-0`)).toEqual({ offset: 40n, metadata: '' });
    },
  );

  test('a record of 12 MB is one row or one dead letter, its neighbours are rows', async () => {
    const topic = uniqueTopic('large');
    const member = way.member(new GenerationGroup().join(), nothing);
    const claim = await member.claim(topic);
    const data = Buffer.from(JSON.stringify('x'.repeat(12_000_000)));
    const batch = analyticsBatch(topic, 0, 3);
    const rows = [...batch.rows.slice(0, 1), analyticsRow(1, { data }), ...batch.rows.slice(2)];
    let outcome = await member.sink.write(claim, { ...batch, rows });
    const dead = outcome.kind === 'rejected' ? outcome.rejections.map(({ offset }) => offset) : [];
    if (outcome.kind === 'rejected') {
      expect(outcome.rejections).toMatchObject([{ offset: 1n, reason: 'too_large' }]);
      outcome = await member.sink.write(claim, { ...batch, rows: rows.filter(({ offset }) => offset !== 1n) });
    }
    expect(outcome).toMatchObject({ kind: 'written' });
    const seen = (await way.rows(topic)).map(({ offset }) => offset);
    expect([...seen, ...dead.map(Number)].toSorted((one, other) => one - other)).toEqual([0, 1, 2]);
  });
}

/** What only a server that is told to can show. */
function meanContract(open: () => MeanWay): void {
  let way: MeanWay;
  beforeEach(() => {
    way = open();
    way.refuseRequests(0, 500);
    way.refuseRows([]);
  });

  test.each([429, 500, 503, 'quota'] as const)('%s passes: nothing is lost, nothing is doubled', async (answer) => {
    const topic = uniqueTopic('busy');
    const member = way.member(new GenerationGroup().join(), nothing);
    const claim = await member.claim(topic);
    way.refuseRequests(3, answer);
    const first = await member.sink.write(claim, analyticsBatch(topic, 0, 20)).catch((error: unknown) => error);
    expect(first).toMatchObject({ code: 'KPIPE_BIGQUERY_UNREACHABLE' });
    expect(member.sink.classify(first)).toBe('retry');
    expect(await writeUntilTold(member, claim, analyticsBatch(topic, 0, 20))).toMatchObject({ kind: 'written' });
    await expectOnce(way, topic, 20);
  });

  test('refused rows are named; the others become rows, once', async () => {
    const topic = uniqueTopic('partial');
    const member = way.member(new GenerationGroup().join(), nothing);
    const claim = await member.claim(topic);
    way.refuseRows([3, 7, 19]);
    const batch = analyticsBatch(topic, 0, 20);
    const outcome = await member.sink.write(claim, batch);
    expect(outcome).toMatchObject({
      kind: 'rejected',
      rejections: [3n, 7n, 19n].map((offset) => ({ offset, reason: 'bq_schema' })),
    });
    expect(await way.rows(topic)).toEqual([]);
    const rows = batch.rows.filter(({ offset }) => ![3n, 7n, 19n].includes(offset));
    expect(await writeUntilTold(member, claim, { ...batch, rows })).toMatchObject({ kind: 'written', stored: 17 });
    await expectOnce(way, topic, 20, [3, 7, 19]);
  });
}

describe.skipIf(bigquery === null)('the contract: write: storage, by the emulator', () => {
  let way: Way;
  beforeAll(async () => {
    way = await tableWay({ ...config, ...bigquery });
  });
  afterAll(() => way.close());
  contract(steps, () => way);
});

describe('the contract: write: storage, by our own server', () => {
  let way: MeanWay;
  beforeAll(async () => {
    way = await fakeStorageWay();
  });
  afterAll(() => way.close());
  contract(steps, () => way);
  meanContract(() => way);
});

describe('the contract: write: load, by our own server', () => {
  let way: Awaited<ReturnType<typeof fakeLoadWay>>;
  beforeAll(async () => {
    way = await fakeLoadWay();
  });
  afterAll(() => way.close());
  contract(loadSteps, () => way);
  meanContract(() => way);

  test.each(['lost', 'cut'] as const)('a connection that is %s while the job is created', async (fault) => {
    const topic = uniqueTopic('cut');
    const member = way.member(new GenerationGroup().join(), nothing);
    const claim = await member.claim(topic);
    let faults = 0;
    way.fake.onRequest = ({ kind }) => {
      faults += kind === 'load' ? 1 : 0;
      return kind === 'load' && faults === 1 ? fault : undefined;
    };
    expect(await writeUntilTold(member, claim, analyticsBatch(topic, 0, 20))).toMatchObject({ kind: 'written' });
    way.fake.onRequest = () => undefined;
    await expectOnce(way, topic, 20);
    expect(faults).toBe(fault === 'lost' ? 1 : 2);
  });

  test('a job that runs is waited for: no second id for its records', async () => {
    const topic = uniqueTopic('slow');
    const group = new GenerationGroup();
    const dying = way.member(group.join(), (step) => {
      if (step === 'position') {
        throw new Error('killed here');
      }
    });
    await expect(writeAll(dying, topic, 20, 20)).rejects.toThrow('killed here');
    const before = way.fake.jobs.length;
    way.fake.running = 6;
    await writeAll(way.member(group.join(), nothing), topic, 20, 20);
    way.fake.running = 0;
    expect(way.fake.jobs.length).toBe(before);
    await expectOnce(way, topic, 20);
  });

  test('a job that was forgotten after it loaded is found in the table', async () => {
    const topic = uniqueTopic('forgotten');
    const group = new GenerationGroup();
    const dying = way.member(group.join(), (step) => {
      if (step === 'position') {
        throw new Error('killed here');
      }
    });
    await expect(writeAll(dying, topic, 20, 20)).rejects.toThrow('killed here');
    way.fake.forgetJobs();
    const next = way.member(group.join(), nothing);
    expect(await next.claim(topic)).toMatchObject({ position: 20n });
    await expectOnce(way, topic, 20);
  });

  test('a job that was never created is no loss, also where another partition has rows at the same offsets', async () => {
    const topic = uniqueTopic('never');
    const group = new GenerationGroup();
    const dying = way.member(group.join(), (step) => {
      if (step === 'job' && armed) {
        throw new Error('killed here');
      }
    });
    let armed = false;
    const zero = await dying.claim(topic, 0);
    expect(await dying.sink.write(zero, analyticsBatch(topic, 0, 20, 0))).toMatchObject({ kind: 'written' });
    const one = await dying.claim(topic, 1);
    armed = true;
    await expect(dying.sink.write(one, analyticsBatch(topic, 0, 20, 1))).rejects.toThrow('killed here');
    const next = way.member(group.join(), nothing);
    const claim = await next.claim(topic, 1);
    expect(claim).toMatchObject({ position: 0n });
    expect(await next.sink.write(claim, analyticsBatch(topic, 0, 20, 1))).toMatchObject({
      kind: 'written',
      stored: 20,
    });
    const counts = [0, 1].map(
      async (partition) => (await way.rows(topic)).filter((row) => row.partition === partition).length,
    );
    expect(await Promise.all(counts)).toEqual([20, 20]);
  });

  test('batches of many partitions go in one job, and one that may not go voids it for all', async () => {
    const topic = uniqueTopic('together');
    const group = new GenerationGroup();
    let refused = 0;
    const member = hookedLoadSink(
      way.connection,
      group.join(),
      (step, when) => {
        if (step === 'intent' && when === 'after' && refused === 0) {
          refused += 1;
          throw Object.assign(new Error('no reply'), { code: 'ECONNRESET' });
        }
      },
      300,
    );
    const before = way.fake.jobs.length;
    const partitions = [0, 1, 2, 3, 4, 5];
    const claims = await Promise.all(partitions.map((partition) => member.claim(topic, partition)));
    const first = await Promise.allSettled(
      claims.map((claim) => member.sink.write(claim, analyticsBatch(topic, 0, 10, claim.partition))),
    );
    expect(first.map(({ status }) => status)).toEqual(partitions.map(() => 'rejected'));
    expect((await way.rows(topic)).length).toBe(0);
    const again = await Promise.all(
      claims.map((claim) => member.sink.write(claim, analyticsBatch(topic, 0, 10, claim.partition))),
    );
    expect(again.map(({ kind }) => kind)).toEqual(partitions.map(() => 'written'));
    const loads = way.fake.jobs.slice(before).filter(({ kind }) => kind === 'load');
    expect(loads.length).toBeLessThanOrEqual(2);
    const seen = (await way.rows(topic)).map(({ partition, offset }) => `${partition}/${offset}`);
    expect(seen.toSorted()).toEqual(
      partitions.flatMap((partition) => Array.from({ length: 10 }, (_, offset) => `${partition}/${offset}`)).toSorted(),
    );
  });

  test('jobs keep their distance', async () => {
    const topic = uniqueTopic('pace');
    const before = way.fake.jobs.length;
    const member = hookedLoadSink(way.connection, new GenerationGroup().join(), nothing, 400);
    await writeAll(member, topic, 30, 10);
    const times = way.fake.jobs.slice(before).map(({ atMs }) => atMs);
    expect(times).toHaveLength(3);
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(300);
  });

  test('a partition that goes away does not wait for the next job', async () => {
    const topic = uniqueTopic('release');
    const member = hookedLoadSink(way.connection, new GenerationGroup().join(), nothing, 3_600_000);
    const claim = await member.claim(topic);
    const writing = member.sink.write(claim, analyticsBatch(topic, 0, 10));
    member.sink.release(claim);
    expect(await writing).toEqual({ kind: 'fenced' });
    expect(await way.rows(topic)).toEqual([]);
  });
});

describe.skipIf(realTarget === undefined).each(['storage', 'load'] as const)(
  'the contract: write: %s, by Google',
  (write) => {
    let way: Way;
    beforeAll(async () => {
      const [project = '', dataset = ''] = (realTarget ?? '').split('.');
      way = await tableWay({ ...config, project, dataset, table: `contract_${write}_${Date.now()}`, write });
    }, 120_000);
    afterAll(() => way.close());
    contract(write === 'load' ? loadSteps : steps, () => way);
  },
);
