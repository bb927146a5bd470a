import type { ConsumeOptions } from '../../src/lib/roles/consume.ts';

/** A run to the end of what is there, that nobody watches. */
export const drainingQuietly: Omit<ConsumeOptions, 'signal'> = {
  untilDrained: true,
  forMs: null,
  concurrency: 2,
  skipLost: false,
  acceptRecreated: false,
  metrics: null,
  reportEveryMs: 60_000,
  onReport: () => undefined,
  notice: () => undefined,
};
