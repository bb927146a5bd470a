import { z } from 'zod';

import type { JournalRecord } from '../replay/journal.ts';

/**
 * A copy from topic to topic, in the journal: what was to be copied, so that another process can go on with it. How far it
 * is, the offsets of the group `kpipe.copy.ID` say: they are committed in the transactions that write the records.
 */
const offset = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);

const entry = z.strictObject({
  version: z.literal(1),
  id: z.string().min(1).max(100),
  kind: z.literal('copy'),
  state: z.enum(['begun', 'done']),
  source: z.string(),
  destination: z.string(),
  where: z.string().nullable(),
  at: z.string(),
  by: z.string(),
  /** Offsets [from, to) of each partition. */
  ranges: z.array(z.strictObject({ partition: z.int().min(0), from: offset, to: offset })),
});

export type CopyEntry = z.output<typeof entry>;

export function copyGroup(id: string): string {
  return `kpipe.copy.${id}`;
}

export function formatCopyEntry(value: CopyEntry): Buffer {
  return Buffer.from(
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item)),
  );
}

/** The newest entry of each copy, in the order in which they began. */
export function readCopies(records: readonly JournalRecord[]): readonly CopyEntry[] {
  const copies = new Map<string, CopyEntry>();
  for (const { value } of records) {
    const parsed = parseEntry(value);
    if (parsed !== null) {
      copies.set(parsed.id, parsed);
    }
  }
  return [...copies.values()];
}

function parseEntry(value: Buffer | null): CopyEntry | null {
  try {
    const parsed = entry.safeParse(JSON.parse(value?.toString('utf8') ?? 'null'));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
