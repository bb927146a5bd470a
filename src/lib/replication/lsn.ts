/** `16/B374D848` ↔ a byte position in the WAL. */
export function parseLsn(text: string): bigint | undefined {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  const [, high, low] = match ?? [];
  return high === undefined || low === undefined ? undefined : (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

export function formatLsn(lsn: bigint): string {
  const hex = (part: bigint): string => part.toString(16).toUpperCase();
  return `${hex(lsn >> 32n)}/${hex(lsn & 0xffff_ffffn)}`;
}

/** How far `at` is behind `end`, never negative: the two were read one after the other. */
export function bytesBehind(end: bigint, at: bigint): number {
  return end > at ? Number(end - at) : 0;
}
