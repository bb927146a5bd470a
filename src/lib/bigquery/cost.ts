import type { SinkUsage } from '../runtime/sink.ts';
import type { LoadJobs } from './load-jobs.ts';
import { splitIntoRequests } from './requests.ts';
import type { PendingStreams } from './writer.ts';

/** Google's list prices in US dollars for the US multi-region, July 2025. Other regions and contracts differ. */
export const listPrices = {
  /** The Storage Write API, per GiB; the first 2 TiB of a month are free and not taken off here. */
  storageWritePerGiB: 0.025,
  /** Active logical storage, per GiB and month. */
  storedPerGiBMonth: 0.02,
} as const;

const gib = 2 ** 30;

/** What writing so many bytes by the Storage Write API costs; load jobs cost nothing. */
export function writeDollars(bytes: number, write: 'storage' | 'load'): number {
  return write === 'load' ? 0 : (bytes / gib) * listPrices.storageWritePerGiB;
}

export function storedDollarsPerDay(bytes: number): number {
  return ((bytes / gib) * listPrices.storedPerGiBMonth) / 30;
}

/** Counts what one sink sends. */
export class UsageMeter {
  readonly #write: 'storage' | 'load';
  readonly #sinceMs: number;
  #requests = 0;
  #bytes = 0;

  constructor(write: 'storage' | 'load', sinceMs: number) {
    this.#write = write;
    this.#sinceMs = sinceMs;
  }

  sent(requests: number, bytes: number): void {
    this.#requests += requests;
    this.#bytes += bytes;
  }

  read(): SinkUsage {
    return {
      requests: this.#requests,
      bytes: this.#bytes,
      loadJobs: this.#write === 'load' ? this.#requests : 0,
      dollars: writeDollars(this.#bytes, this.#write),
      sinceMs: this.#sinceMs,
    };
  }
}

/** The streams, counted. */
export function meteredStreams(streams: PendingStreams, meter: UsageMeter): PendingStreams {
  return {
    ...streams,
    append: (stream, rows, descriptor) => {
      meter.sent(
        splitIntoRequests(rows).length,
        rows.reduce((sum, { length }) => sum + length, 0),
      );
      return streams.append(stream, rows, descriptor);
    },
  };
}

/** The load jobs, counted. */
export function meteredJobs(jobs: LoadJobs, meter: UsageMeter): LoadJobs {
  return {
    ...jobs,
    run: (job, body) => {
      meter.sent(1, body.length);
      return jobs.run(job, body);
    },
  };
}
