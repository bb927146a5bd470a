import { families, familyNames } from './families.ts';
import { freshReport, type PartState } from './part-feed.ts';
import type { Sample, Series } from './series.ts';

/** A part as it is read: its state, and its report as series. */
export interface ExposedPart {
  readonly part: string;
  readonly state: PartState<unknown>;
  /** null: nothing young enough to show. */
  readonly series: Series | null;
}

export function exposedPart<Report>(
  part: string,
  state: PartState<Report>,
  toSeries: (report: Report) => Series,
  at: { readonly keptMs: number; readonly nowMs: number },
): ExposedPart {
  const report = freshReport(state, at.keptMs, at.nowMs);
  return { part, state, series: report === null ? null : toSeries(report) };
}

/** Every sample of a scrape: the parts’ own, and what is known of each part. Old figures are gone, not frozen. */
export function exposedSamples(parts: readonly ExposedPart[]): readonly Sample[] {
  return parts.flatMap(({ part, state, series }): readonly Sample[] => {
    const labels = { part };
    const { failure, seenAtMs, lookMs, failedLooks } = state;
    return [
      { family: 'kpipe_exporter_up', labels, value: failure === null && series !== null ? 1 : 0 },
      { family: 'kpipe_exporter_failed_looks_total', labels, value: failedLooks },
      ...(seenAtMs === null
        ? []
        : [{ family: 'kpipe_exporter_seen_timestamp_seconds', labels, value: seenAtMs / 1000 } as const]),
      ...(lookMs === null
        ? []
        : [{ family: 'kpipe_exporter_look_duration_seconds', labels, value: lookMs / 1000 } as const]),
      ...(series === null
        ? []
        : [
            { family: 'kpipe_exporter_partitions_left_out', labels, value: series.leftOut } as const,
            ...series.samples,
          ]),
    ];
  });
}

/** The Prometheus text format. A registry for each reading: what is not there any more leaves nothing behind. */
export async function renderSamples(
  samples: readonly Sample[],
): Promise<{ readonly contentType: string; readonly text: string }> {
  const { Registry, Gauge, Counter } = await import('prom-client');
  const registry = new Registry();
  const byFamily = Map.groupBy(samples, ({ family }) => family);
  for (const name of familyNames) {
    const { type, help, labels } = families[name];
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    const ofFamily = byFamily.get(name) ?? [];
    if (type === 'counter') {
      const counter = new Counter(options);
      ofFamily.forEach((each) => counter.inc(each.labels, each.value));
    } else {
      const gauge = new Gauge(options);
      // A gauge without labels begins at 0, which would be a claim.
      gauge.reset();
      if (labels.length === 0 && ofFamily.length === 0) {
        gauge.remove();
      }
      ofFamily.forEach((each) => gauge.set(each.labels, each.value));
    }
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}
