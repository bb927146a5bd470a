import { setFlagsFromString } from 'node:v8';

/**
 * Keeps V8's young generation at its first size. Records live just long enough to be copied out of a large one, and the
 * old generation then grows with garbage: on 300,000 events of 360 B this flag took the peak from 490 to 354 MB of
 * resident memory, for a tenth more CPU. It must be set before the first record is read.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
