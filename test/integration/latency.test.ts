import { describe, expect, test, vi } from 'vitest';

import type { Config } from '../../src/lib/config/load.ts';
import { measureLatency } from '../../src/lib/latency/measure.ts';
import type { LatencyReport } from '../../src/lib/latency/report.ts';
import { withKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { rolePipelines } from '../support/role-pipeline.ts';

const pipelines = await rolePipelines();
const { signal } = new AbortController();
const options = { count: 12, ratePerSec: 50 } as const;

const counts = ({ stages }: LatencyReport) => stages.map(({ stage, measured, lost }) => ({ stage, measured, lost }));
const topics = (config: Config): Promise<readonly string[]> =>
  withKafkaAdmin(config.kafka, async (admin) => (await admin.listTopics()).map(({ name }) => name));

describe('kpipe latency', () => {
  test('on a topic of its own, which is gone afterwards: every probe is acked and consumed', async () => {
    const role = await pipelines.open({ role: 'events' });
    const report = await measureLatency(role.config, { ...options, role: null }, signal);
    expect(counts(report)).toEqual([
      { stage: 'ack', measured: 12, lost: 0 },
      { stage: 'consume', measured: 12, lost: 0 },
    ]);
    expect(report).toMatchObject({ role: null, probes: 12, partitions: 3, problems: [] });
    const [ack] = report.stages;
    expect(ack?.p50Ms).toBeGreaterThan(0);
    await vi.waitUntil(async () => !(await topics(role.config)).includes(report.topic), { timeout: 60_000 });
  });

  test('an interruption leaves no topic behind', async () => {
    const role = await pipelines.open({ role: 'events' });
    const stop = new AbortController();
    const seen: number[] = [];
    const running = measureLatency(
      role.config,
      {
        role: null,
        count: 1000,
        ratePerSec: 50,
        onProgress: (sent) => {
          seen.push(sent);
          stop.abort(new Error('stopped'));
        },
      },
      stop.signal,
    );
    await expect(running).rejects.toThrow('stopped');
    expect(seen[0]).toBe(1);
    await vi.waitUntil(async () => !(await topics(role.config)).some((name) => name.startsWith('kpipe.latency.')), {
      timeout: 60_000,
    });
  });

  test('through a running role: stored too; a second run adds no row', async () => {
    const role = await pipelines.open({
      role: 'events',
      partitions: 2,
      settings: { batch: { maxRows: 50, maxWait: '20ms' } },
    });
    const stop = new AbortController();
    const running = role.consume({ untilDrained: false, signal: stop.signal });
    try {
      const report = await vi.waitUntil(
        () => measureLatency(role.config, { ...options, role: 'events' }, signal).catch(notYet),
        { timeout: 60_000, interval: 300 },
      );
      expect(counts(report)).toEqual([
        { stage: 'ack', measured: 12, lost: 0 },
        { stage: 'consume', measured: 12, lost: 0 },
        { stage: 'stored', measured: 12, lost: 0 },
      ]);
      expect(report).toMatchObject({ topic: role.topic, role: 'events' });
      const again = await measureLatency(role.config, { ...options, role: 'events' }, signal);
      expect(counts(again)).toEqual(counts(report));
    } finally {
      stop.abort();
    }
    const { totals } = await running;
    // Two runs, each with a round to warm up that sends one to each partition.
    expect(totals).toMatchObject({ records: 28, stored: 12, duplicates: 16, deadLetters: 0 });
    const rows = await pipelines.query('select id, type from kpipe.events where topic = $1 order by id', [role.topic]);
    expect(rows).toHaveLength(12);
    expect(new Set(rows.map(({ type }) => type))).toEqual(new Set(['kpipe.probe']));
  });

  test.each([
    ['nobody runs the role', {}, 'role events does not run: nobody would store a probe'],
    [
      'a projection would take probes',
      {
        projections: [{ match: { type: '*' }, table: 'public.everything', key: { id: { from: 'id', type: 'text' } } }],
      },
      'the projection to public.everything would take probes for events of yours',
    ],
  ])('refuses where %s', async (_, settings, message) => {
    const role = await pipelines.open({ role: 'events', settings });
    await expect(measureLatency(role.config, { ...options, role: 'events' }, signal)).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      message,
    });
  });
});

/** The role joins its group meanwhile. */
function notYet(error: unknown): undefined {
  expect(error).toMatchObject({ code: 'KPIPE_REFUSED' });
}
