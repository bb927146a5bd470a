/** What a role's process says on /metrics (`role-metrics.ts` writes it), read back. Pure. */

/** Cumulative since the process started. */
export interface ScrapedMetrics {
  readonly role: string | null;
  /** Ends of the buckets in seconds, ascending, the last one Infinity, and how many batches were not older. */
  readonly latencyBuckets: readonly LatencyBucket[];
  readonly records: number;
  readonly deadLetters: number;
  readonly assigned: number | null;
  readonly claimed: number | null;
  readonly residentBytes: number | null;
  /** Codes of the reasons why it waits. */
  readonly paused: readonly string[];
}

export interface LatencyBucket {
  readonly upToSeconds: number;
  readonly count: number;
}

interface ScrapedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleLine = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$/;
const labelPair = /([A-Za-z_]\w*)="((?:\\.|[^"\\])*)"/g;

/** Reads the Prometheus text format; null where none of it is a role's. */
export function readRoleMetrics(text: string): ScrapedMetrics | null {
  const samples = text.split('\n').flatMap((line) => readSample(line.trim()));
  const of = (name: string): readonly ScrapedSample[] => samples.filter((sample) => sample.name === name);
  const sum = (name: string): number => of(name).reduce((total, { value }) => total + value, 0);
  const first = (name: string): number | null => of(name).at(0)?.value ?? null;
  const assigned = of('kpipe_assigned_partitions');
  return assigned.length === 0
    ? null
    : {
        role: assigned[0]?.labels['role'] ?? null,
        latencyBuckets: of('kpipe_end_to_end_latency_seconds_bucket')
          .map(({ labels, value }) => ({ upToSeconds: numberOf(labels['le'] ?? ''), count: value }))
          .filter(({ upToSeconds }) => !Number.isNaN(upToSeconds))
          .toSorted((left, right) => left.upToSeconds - right.upToSeconds),
        records: sum('kpipe_records_total'),
        deadLetters: sum('kpipe_dead_letters_total'),
        assigned: first('kpipe_assigned_partitions'),
        claimed: first('kpipe_claimed_partitions'),
        residentBytes: first('process_resident_memory_bytes'),
        paused: of('kpipe_paused').flatMap(({ labels, value }) => (value > 0 ? [labels['code'] ?? '?'] : [])),
      };
}

function readSample(line: string): readonly ScrapedSample[] {
  const [, name, labels = '', value = ''] = line.startsWith('#') ? [] : (sampleLine.exec(line) ?? []);
  return name === undefined
    ? []
    : [
        {
          name,
          labels: Object.fromEntries([...labels.matchAll(labelPair)].map(([, key = '', text = '']) => [key, text])),
          value: numberOf(value),
        },
      ];
}

function numberOf(text: string): number {
  return text === '+Inf' ? Number.POSITIVE_INFINITY : text === '' ? Number.NaN : Number(text);
}

/** The bucket of a share of the batches: none of them was older than `upToMs`; null where nothing was counted. */
export function quantileOf(buckets: readonly LatencyBucket[], share: number): { readonly upToMs: number } | null {
  const total = buckets.at(-1)?.count ?? 0;
  const found = total <= 0 ? undefined : buckets.find(({ count }) => count >= total * share);
  return found === undefined ? null : { upToMs: found.upToSeconds * 1000 };
}

/** What was counted between two readings; a process that started again counts from 0. */
export function bucketsBetween(
  before: readonly LatencyBucket[],
  now: readonly LatencyBucket[],
): readonly LatencyBucket[] {
  const earlier = new Map(before.map(({ upToSeconds, count }) => [upToSeconds, count]));
  const startedAgain = now.some(({ upToSeconds, count }) => count < (earlier.get(upToSeconds) ?? 0));
  return startedAgain
    ? now
    : now.map(({ upToSeconds, count }) => ({ upToSeconds, count: count - (earlier.get(upToSeconds) ?? 0) }));
}

/** The counts of several processes together. */
export function mergeBuckets(all: readonly (readonly LatencyBucket[])[]): readonly LatencyBucket[] {
  const counts = new Map<number, number>();
  for (const { upToSeconds, count } of all.flat()) {
    counts.set(upToSeconds, (counts.get(upToSeconds) ?? 0) + count);
  }
  return [...counts]
    .map(([upToSeconds, count]) => ({ upToSeconds, count }))
    .toSorted((left, right) => left.upToSeconds - right.upToSeconds);
}
