/** Keys that were read from the newest records of a topic. */
export interface KeySample {
  /** Records that were looked at. */
  readonly records: number;
  readonly keyed: number;
  /** Each key once, with a partition that it was found in. */
  readonly keys: readonly { readonly key: Uint8Array; readonly partition: number }[];
}

export interface KeyMoves {
  readonly records: number;
  readonly keyed: number;
  readonly keys: number;
  /** Keys whose next records go to another partition. */
  readonly moving: number;
  /** Keys that lie where Kafka's default partitioner puts them; the others' producers choose otherwise. */
  readonly byDefault: number;
}

/** What another number of partitions does to the keys of a sample. Pure; `partitionOf` is the producers' partitioner. */
export function keyMoves(
  { records, keyed, keys }: KeySample,
  counts: { readonly from: number; readonly to: number },
  partitionOf: (key: Uint8Array, count: number) => number,
): KeyMoves {
  const byDefault = keys.filter(({ key, partition }) => partitionOf(key, counts.from) === partition);
  const moving = byDefault.filter(({ key, partition }) => partitionOf(key, counts.to) !== partition);
  return { records, keyed, keys: keys.length, moving: moving.length, byDefault: byDefault.length };
}

/** For the plan: what moves, of how many keys, and what is not known. */
export function keyMovesText({ records, keyed, keys, moving, byDefault }: KeyMoves): string {
  if (records === 0) {
    return 'the topic holds no record to look at';
  }
  if (keyed === 0) {
    return `none of ${records} sampled records has a key`;
  }
  const others = keys - byDefault;
  const share = `${moving} of ${byDefault} sampled keys go to another partition`;
  return others === 0 ? share : `${share}; ${others} lie where their producers put them`;
}
