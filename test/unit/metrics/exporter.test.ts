import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import { noDiskHistory } from '../../../src/lib/health/disk-forecast.ts';
import { judgeCluster } from '../../../src/lib/health/judge-cluster.ts';
import { exposedPart, exposedSamples, renderSamples } from '../../../src/lib/metrics/exposition.ts';
import { families, familyNames } from '../../../src/lib/metrics/families.ts';
import { PartFeed, type PartState } from '../../../src/lib/metrics/part-feed.ts';
import { backupSeries, brokerSeries, lagSeries, type Sample, type Series } from '../../../src/lib/metrics/series.ts';
import { Pace } from '../../../src/lib/offsets/follow.ts';
import type { GroupLag, LagReport } from '../../../src/lib/offsets/lag-report.ts';
import { cluster } from '../health/cluster-fixtures.ts';
import { groupLag } from '../offsets/lag-fixtures.ts';

const lines = async (samples: readonly Sample[]): Promise<readonly string[]> =>
  (await renderSamples(samples)).text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

const report = (...roles: readonly GroupLag[]): LagReport => ({
  observedAt: '',
  clusterId: 'c',
  roles,
  notes: [],
  cost: { requests: 12, ms: 34 },
});

function withPartitions(count: number, over: Partial<GroupLag> = {}): GroupLag {
  const group = groupLag({ lagRecords: 5, ...over });
  return {
    ...group,
    partitions: Array.from({ length: count }, (_, partition) => ({
      ...group,
      topic: 'events',
      partition,
      committedOffset: 5n,
      position: 5n,
      highWatermark: 10n,
      logStartOffset: 0n,
      member: null,
    })),
  };
}

describe('families', () => {
  test.each(familyNames)('%s: its name tells the unit, its type the ending', (name) => {
    const { type, help, labels } = families[name];
    expect(name).toMatch(/^kpipe_[a-z_]+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    expect(name).not.toMatch(/_(ms|kb|mb|percent|count)$/);
    expect(help).not.toMatch(/\.$/);
    expect(new Set(labels).size).toBe(labels.length);
  });

  test('each is told with HELP and TYPE also while there is nothing of it, and without a made-up 0', async () => {
    const { text } = await renderSamples([]);
    for (const name of familyNames) {
      expect(text).toContain(`# HELP ${name} ${families[name].help}\n# TYPE ${name} ${families[name].type}\n`);
    }
    expect(await lines([])).toEqual([]);
  });
});

describe('series', () => {
  test('a group: what is not known is absent, its status is one of a closed list', async () => {
    const printed = await lines(lagSeries(report(withPartitions(2, { timeLagMs: 1500, drainMs: null }))).samples);
    const labels = 'role="events",group="kpipe-events"';
    expect(printed).toContain(`kpipe_group_lag_records{${labels}} 5`);
    expect(printed).toContain(`kpipe_group_lag_seconds{${labels}} 1.5`);
    expect(printed).toContain(`kpipe_group_status{${labels},status="ok"} 1`);
    expect(printed).toContain(`kpipe_group_status{${labels},status="stop"} 0`);
    expect(printed).toContain(`kpipe_group_partition_lag_records{${labels},topic="events",partition="1"} 5`);
    expect(printed).toContain(`kpipe_group_read_records_total{${labels}} 10`);
    expect(printed.filter((line) => line.startsWith('kpipe_group_drain_seconds'))).toEqual([]);
  });

  test('a topic that two groups read is counted once; one position missing, no sum', async () => {
    const other = withPartitions(2, { role: null, group: 'other' });
    const [first, ...rest] = other.partitions;
    const printed = await lines(
      lagSeries(report(withPartitions(2), { ...other, partitions: [{ ...first!, position: null }, ...rest] })).samples,
    );
    expect(printed.filter((line) => line.startsWith('kpipe_topic_written'))).toEqual([
      'kpipe_topic_written_records_total{topic="events"} 20',
    ]);
    expect(printed.filter((line) => line.startsWith('kpipe_group_read_records_total'))).toHaveLength(1);
  });

  test('more than a thousand partitions are left out, and counted', () => {
    const most = lagSeries(report(withPartitions(1000)));
    expect(most.leftOut).toBe(0);
    const { leftOut, samples } = lagSeries(report(withPartitions(1001)));
    expect(leftOut).toBe(1001);
    expect(samples.length).toBeLessThan(30);
  });

  test('brokers: each problem code has a series, so that one that ends goes to 0', async () => {
    const seen = judgeCluster(cluster(), { disks: noDiskHistory, before: null, alerts: {} });
    const printed = await lines(brokerSeries(seen).samples);
    expect(printed).toContain('kpipe_broker_up{broker="3"} 1');
    expect(printed).toContain('kpipe_log_directory_usable_bytes{broker="1",path="/data"} 500');
    expect(printed).toContain('kpipe_cluster_problems{code="OFFLINE"} 0');
    expect(printed).toContain('kpipe_cluster_offline_partitions 0');
  });

  test('no backup: a count of 0, and no time', async () => {
    expect(await lines(backupSeries({ lines: [], problems: [] }).samples)).toEqual([
      'kpipe_backups 0',
      'kpipe_backup_problems 0',
    ]);
  });
});

describe('a part’s state', () => {
  const one: Series = { samples: [{ family: 'kpipe_backups', labels: {}, value: 1 }], leftOut: 0 };
  const seen: PartState<string> = { report: 'r', seenAtMs: 1000, lookMs: 20, failure: null, failedLooks: 0 };
  const expose = (state: PartState<string>, nowMs: number) =>
    lines(exposedSamples([exposedPart('backup', state, () => one, { keptMs: 5000, nowMs })]));

  test('figures of a look that failed since are kept and marked, then gone', async () => {
    expect(await expose(seen, 2000)).toEqual(
      expect.arrayContaining(['kpipe_exporter_up{part="backup"} 1', 'kpipe_backups 1']),
    );
    const failed = { ...seen, failure: 'away', failedLooks: 2 };
    const kept = await expose(failed, 6000);
    expect(kept).toEqual(expect.arrayContaining(['kpipe_exporter_up{part="backup"} 0', 'kpipe_backups 1']));
    expect(kept).toContain('kpipe_exporter_failed_looks_total{part="backup"} 2');
    expect(kept).toContain('kpipe_exporter_seen_timestamp_seconds{part="backup"} 1');
    const gone = await expose(failed, 6001);
    expect(gone).toContain('kpipe_exporter_up{part="backup"} 0');
    expect(gone.filter((line) => line.startsWith('kpipe_backups'))).toEqual([]);
  });

  test('a look that hangs makes the part go down too', async () => {
    expect(await expose(seen, 6001)).toContain('kpipe_exporter_up{part="backup"} 0');
  });

  test('looks never overlap, and a failure is counted, not the end', async () => {
    const feed = new PartFeed<number>(() => 0);
    const stop = new AbortController();
    let open = 0;
    let most = 0;
    let looks = 0;
    const look = async (): Promise<number> => {
      open += 1;
      most = Math.max(most, open);
      await turn();
      open -= 1;
      looks += 1;
      if (looks === 2) {
        throw new Error('away');
      }
      if (looks === 4) {
        stop.abort(new KpipeError('KPIPE_INTERRUPTED', 'stop'));
      }
      return looks;
    };
    await feed.follow(look, new Pace(0), stop.signal);
    expect({ most, looks }).toEqual({ most: 1, looks: 4 });
    expect(feed.state).toMatchObject({ report: 4, failure: null, failedLooks: 1 });
  });
});
