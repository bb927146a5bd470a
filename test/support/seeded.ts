/** Random numbers that a seed repeats. */
export interface Seeded {
  readonly seed: number;
  /** 0 ≤ number < 1 */
  readonly number: () => number;
  /** 0 ≤ integer < below */
  readonly below: (limit: number) => number;
  readonly chance: (share: number) => boolean;
  readonly pick: <Item>(items: readonly [Item, ...Item[]]) => Item;
}

/** A stream of its own for each who draws at the same time as others: what one draws must not depend on when. */
export function streamOf(seed: number, name: string): Seeded {
  return seeded(Buffer.from(name).reduce((mixed, byte) => Math.imul(mixed ^ byte, 0x01000193), seed));
}

/** mulberry32: small, and good enough to choose instants and records by. */
export function seeded(seed: number): Seeded {
  let state = seed >>> 0;
  const number = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number): number => Math.floor(number() * limit);
  return {
    seed,
    number,
    below,
    chance: (share) => number() < share,
    pick: (items) => items[below(items.length)] ?? items[0],
  };
}

/** `KPIPE_FAULT_SEED`, else one by the clock. */
export function faultSeed(): number {
  const given = Number(process.env['KPIPE_FAULT_SEED'] ?? '');
  return Number.isSafeInteger(given) && given > 0 ? given : Date.now() % 1_000_000_000;
}

/** `KPIPE_FAULT_ROUNDS`, else the default. */
export function faultRounds(fallback: number): number {
  const given = Number(process.env['KPIPE_FAULT_ROUNDS'] ?? '');
  return Number.isSafeInteger(given) && given > 0 ? given : fallback;
}

/** `KPIPE_FAULT_LONG` (`npm run faults -- --long`): outages and storms take minutes. */
export function isLongRun(): boolean {
  return (process.env['KPIPE_FAULT_LONG'] ?? '') !== '';
}

/** Runs a test that a seed repeats: says the seed before, and in the message of a failure. */
export async function repeatable(name: string, seed: number, rounds: number, work: () => Promise<void>): Promise<void> {
  const repeat = `npm run faults -- --seed ${seed} --rounds ${rounds}`;
  process.stderr.write(`faults: ${name}: ${repeat}\n`);
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) {
      error.message = `${error.message}\nrepeat it with: ${repeat}`;
    }
    throw error;
  }
}
