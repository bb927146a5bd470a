import { z } from 'zod';

import { parseByteRate, parseDuration, parseSize } from './units.ts';

/** The kinds of values that kpipe.yaml has in several places. */
export const durationMs = z.string().transform((text, context) => {
  const ms = parseDuration(text);
  if (ms === undefined) {
    context.addIssue({ code: 'custom', message: `not a duration: write 200ms, 30s, 5m, 6h or 7d` });
    return z.NEVER;
  }
  return ms;
});

export const sizeBytes = z.union([z.string(), z.number()]).transform((value, context) => {
  const bytes = parseSize(String(value));
  if (bytes === undefined) {
    context.addIssue({ code: 'custom', message: 'not a size: write 512kB, 8MB or 1GiB' });
    return z.NEVER;
  }
  return bytes;
});

export const bytesPerSec = z.string().transform((text, context) => {
  const rate = parseByteRate(text);
  if (rate === undefined) {
    context.addIssue({ code: 'custom', message: 'not a rate: write 40MB/s' });
    return z.NEVER;
  }
  return rate;
});

export const count = z.int().min(1);
export const identifier = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_$]{0,62}$/, 'not a plain SQL name of at most 63 characters (letters, digits, _)');
