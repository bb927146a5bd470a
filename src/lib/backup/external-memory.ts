import { setFlagsFromString } from 'node:v8';

/**
 * Unpacking a backup allocates its size in buffers, outside of V8's small heap; V8 answers by marking the whole heap every
 * 15 MB. Without incremental marking it collects when its limits are reached: for 1 GB 14 times instead of 65, and
 * 1.8 s of CPU time instead of 3.0 s, at the same peak of memory. Call it before a backup is read.
 */
export function expectLargeBuffers(): void {
  setFlagsFromString('--no-incremental-marking');
}
