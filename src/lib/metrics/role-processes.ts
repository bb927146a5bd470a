import { KpipeError, messageOf } from '../errors.ts';
import {
  bucketsBetween,
  mergeBuckets,
  quantileOf,
  readRoleMetrics,
  type LatencyBucket,
  type ScrapedMetrics,
} from './scrape.ts';

/** What the roles' processes say of themselves, where their addresses are known. */
export interface ProcessReport {
  /** ISO 8601. */
  readonly observedAt: string;
  readonly processes: readonly RoleProcess[];
  readonly roles: readonly RoleLatency[];
}

export interface RoleProcess {
  readonly url: string;
  readonly role: string | null;
  /** By /readyz; null: it did not answer. */
  readonly ready: boolean | null;
  /** Why it is not ready, or cannot be asked. */
  readonly reasons: readonly string[];
  readonly metrics: ScrapedMetrics | null;
}

/** From the Kafka timestamp of a batch’s oldest record until the batch was durable, over all processes of a role. */
export interface RoleLatency {
  readonly role: string;
  readonly processes: number;
  readonly ready: number;
  /** Over how long; 0 at the first look. */
  readonly overMs: number;
  /** Batches that became durable meanwhile. */
  readonly batches: number;
  /** Ends of the buckets that hold the median and the 99th percentile; Infinity: beyond the last; null: no batch. */
  readonly p50UpToMs: number | null;
  readonly p99UpToMs: number | null;
  readonly recordsPerSec: number | null;
  readonly deadLettersPerSec: number | null;
  readonly deadLetters: number;
}

interface Reading {
  readonly atMs: number;
  readonly metrics: ScrapedMetrics;
}

const deadlineMs = 2000;
const windowMs = 60_000;
const largestAnswer = 4_000_000;

/** Reads the processes again and again; rates and latencies are those of the last minute. */
export class ProcessWatch {
  readonly #urls: readonly string[];
  readonly #now: () => number;
  #readings: ReadonlyMap<string, readonly Reading[]> = new Map();

  constructor(urls: readonly string[], now: () => number) {
    this.#urls = urls;
    this.#now = now;
  }

  /** A process that does not answer is a line that says so. */
  async look(signal: AbortSignal): Promise<ProcessReport> {
    const processes = await Promise.all(this.#urls.map((url) => askProcess(url, signal)));
    const atMs = this.#now();
    this.#readings = new Map(
      processes.map(({ url, metrics }) => [url, withReading(this.#readings.get(url) ?? [], atMs, metrics)]),
    );
    const byRole = Map.groupBy(
      processes.filter(({ role }) => role !== null),
      ({ role }) => role ?? '',
    );
    return {
      observedAt: new Date(atMs).toISOString(),
      processes,
      roles: [...byRole].map(([role, ofRole]) => this.#latency(role, ofRole)),
    };
  }

  #latency(role: string, processes: readonly RoleProcess[]): RoleLatency {
    const spans = processes.flatMap(({ url }) => {
      const readings = this.#readings.get(url) ?? [];
      const [first] = readings;
      const last = readings.at(-1);
      return first === undefined || last === undefined ? [] : [{ first, last }];
    });
    const buckets = mergeBuckets(spans.map(latencyBetween));
    const overMs = Math.max(0, ...spans.map(({ first, last }) => last.atMs - first.atMs));
    const perSec = (of: (metrics: ScrapedMetrics) => number): number | null =>
      overMs === 0
        ? null
        : spans.reduce((sum, { first, last }) => sum + risen(of(first.metrics), of(last.metrics)), 0) / (overMs / 1000);
    return {
      role,
      processes: processes.length,
      ready: processes.filter(({ ready }) => ready === true).length,
      overMs,
      batches: buckets.at(-1)?.count ?? 0,
      p50UpToMs: quantileOf(buckets, 0.5)?.upToMs ?? null,
      p99UpToMs: quantileOf(buckets, 0.99)?.upToMs ?? null,
      recordsPerSec: perSec(({ records }) => records),
      deadLettersPerSec: perSec(({ deadLetters }) => deadLetters),
      deadLetters: spans.reduce((sum, { last }) => sum + last.metrics.deadLetters, 0),
    };
  }
}

function latencyBetween({
  first,
  last,
}: {
  readonly first: Reading;
  readonly last: Reading;
}): readonly LatencyBucket[] {
  return bucketsBetween(first.metrics.latencyBuckets, last.metrics.latencyBuckets);
}

/** A counter that went back began again at 0. */
function risen(before: number, now: number): number {
  return now < before ? now : now - before;
}

/** One reading older than the window stays, so that the window is always full. */
function withReading(readings: readonly Reading[], atMs: number, metrics: ScrapedMetrics | null): readonly Reading[] {
  if (metrics === null) {
    return readings;
  }
  const all = [...readings, { atMs, metrics }];
  return all.slice(
    Math.max(
      0,
      all.findLastIndex((reading) => atMs - reading.atMs >= windowMs),
    ),
  );
}

async function askProcess(url: string, signal: AbortSignal): Promise<RoleProcess> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
  try {
    const [metrics, readiness] = await Promise.all([ask(`${url}/metrics`, within), ask(`${url}/readyz`, within)]);
    const scraped = readRoleMetrics(metrics.text);
    const reasons = readiness.text.split('\n').filter((line) => line !== '' && line !== 'ok');
    return scraped === null
      ? { url, role: null, ready: null, reasons: ['it serves no metrics of a role'], metrics: null }
      : { url, role: scraped.role, ready: readiness.ok, reasons, metrics: scraped };
  } catch (error) {
    const why = within.aborted && !signal.aborted ? `no answer within ${deadlineMs / 1000} s` : causeOf(error);
    return { url, role: null, ready: null, reasons: [why], metrics: null };
  }
}

async function ask(url: string, signal: AbortSignal): Promise<{ readonly ok: boolean; readonly text: string }> {
  const response = await fetch(url, { signal, redirect: 'error' });
  const text = await response.text();
  if (text.length > largestAnswer) {
    throw new KpipeError('KPIPE_INTERNAL', 'its answer is too large to be metrics');
  }
  return { ok: response.ok, text };
}

/** fetch says `fetch failed`, and why only in its cause. */
function causeOf(error: unknown): string {
  return messageOf(error instanceof Error && error.cause instanceof Error ? error.cause : error);
}
