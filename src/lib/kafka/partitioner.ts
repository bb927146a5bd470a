/**
 * Which partition a record goes to, as Kafka's Java producer decides it: keyed records by murmur2 of the key's bytes, so
 * that every client sends a key to the same partition. Computed here with 32-bit arithmetic: kafkajs' own murmur2 goes
 * through BigInt and costs more than all the rest of a send.
 */

/** The 32-bit murmur2 hash of `org.apache.kafka.common.utils.Utils`, as a signed integer. */
export function murmur2(bytes: Uint8Array): number {
  const m = 0x5bd1e995;
  const { length } = bytes;
  let hash = 0x9747b28c ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    const word =
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24);
    const mixed = Math.imul(word, m);
    hash = Math.imul(hash, m) ^ Math.imul(mixed ^ (mixed >>> 24), m);
  }
  const left = length - at;
  if (left >= 3) {
    hash ^= byteAt(bytes, at + 2) << 16;
  }
  if (left >= 2) {
    hash ^= byteAt(bytes, at + 1) << 8;
  }
  if (left >= 1) {
    hash = Math.imul(hash ^ byteAt(bytes, at), m);
  }
  hash = Math.imul(hash ^ (hash >>> 13), m);
  return hash ^ (hash >>> 15);
}

/** The partition of a key, of `count` partitions. */
export function partitionOfKey(key: Uint8Array, count: number): number {
  return (murmur2(key) & 0x7fffffff) % count;
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}
