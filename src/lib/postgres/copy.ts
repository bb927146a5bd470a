import { finished } from 'node:stream/promises';

import copyStreams from 'pg-copy-streams';

import type { PoolClient } from './pool.ts';

/** Sends one finished binary COPY stream. @throws the server's error, whose `where` names the line */
export async function copyInto(
  client: PoolClient,
  table: string,
  columns: readonly string[],
  rows: Buffer,
): Promise<void> {
  const stream = client.query(
    copyStreams.from(`copy ${table} (${columns.join(', ')}) from stdin with (format binary)`),
  );
  stream.end(rows);
  await finished(stream);
}

/** The line, from 1, that COPY's error context names: `COPY events, line 3, column data`. */
export function copyErrorLine(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('where' in error) || typeof error.where !== 'string') {
    return undefined;
  }
  const line = /^COPY [^,]+, line (\d+)/m.exec(error.where)?.[1];
  return line === undefined ? undefined : Number(line);
}
