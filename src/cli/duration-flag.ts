import { Flags } from '@oclif/core';

import { parseDuration } from '../lib/config/units.ts';
import { KpipeError } from '../lib/errors.ts';

/** Options whose value is a duration such as `30s` or `1h30m`, in milliseconds; `name` is for the error. */
export const durationFlag = (name: string, atLeastMs = 0): ReturnType<typeof Flags.custom<number>> =>
  Flags.custom<number>({
    helpValue: 'DURATION',
    parse: (text) => {
      const ms = parseDuration(text);
      if (ms === undefined || ms < atLeastMs) {
        const what = ms === undefined ? 'is not a duration' : `is too short (at least ${atLeastMs}ms)`;
        return Promise.reject(
          new KpipeError('KPIPE_USAGE', `--${name}: ${text} ${what}`, { next: 'write 500ms, 30s, 5m, 2h or 7d' }),
        );
      }
      return Promise.resolve(ms);
    },
  });
