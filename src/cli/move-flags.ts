import { Flags } from '@oclif/core';

import { parseByteRate } from '../lib/config/units.ts';
import { KpipeError } from '../lib/errors.ts';
import { checkedRate } from '../lib/topics/move/throttle.ts';

/** How fast replicas are copied, for the commands that move them. */
export const moveFlags = {
  throttle: Flags.string({
    default: '50MB/s',
    helpValue: 'RATE',
    description: 'most bytes a second that a broker copies, such as 50MB/s; none: as fast as it can',
  }),
  batch: Flags.integer({ default: 10, min: 1, helpValue: 'N', description: 'partitions that are moved at once' }),
};

/** Bytes a second; null for `none`. @throws KPIPE_USAGE */
export function throttleOf(text: string): number | null {
  if (text === 'none') {
    return null;
  }
  const rate = parseByteRate(text);
  if (rate === undefined) {
    throw new KpipeError('KPIPE_USAGE', `--throttle ${text} is not a rate`, { next: 'write 50MB/s, or none' });
  }
  return checkedRate(rate);
}
