import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { JsonScanner, storableSlice } from '../../src/lib/records/json-scan.ts';
import { documentFrom } from '../support/json-documents.ts';
import { createDatabase } from '../support/servers.ts';

const documents = 100_000;
const atOnce = 5000;
const scanner = new JsonScanner({ maxDepth: 60 });
const database = await createDatabase();
const client = new Client(database.url);

beforeAll(async () => {
  await client.connect();
  await client.query(`
    create function refusal(document text) returns text language plpgsql as $$
    begin
      perform document::jsonb;
      return null;
    exception when others then
      return sqlstate;
    end $$`);
});

afterAll(async () => {
  await client.end();
});

/** SQLSTATEs by document; null: PostgreSQL stores it. */
async function refusals(texts: readonly string[]): Promise<readonly (string | null)[]> {
  const { rows } = await client.query<{ refusal: string | null }>(
    'select refusal(document) from unnest($1::text[]) with ordinality as of (document, number) order by number',
    [texts],
  );
  return rows.map(({ refusal }) => refusal);
}

interface Scanned {
  readonly seed: number;
  readonly fault: string | null;
  /** What would be stored; where it is refused, the document as it came. */
  readonly text: string;
}

function scanned(seed: number): Scanned {
  const bytes = Buffer.from(documentFrom(seed));
  const fault = scanner.scan(bytes, 0, bytes.length);
  const text = fault === null ? storableSlice(bytes, 0, bytes.length, scanner.unstorableEscapes) : bytes;
  return { seed, fault, text: text.toString() };
}

test('100,000 documents, half of them mutated: PostgreSQL stores what the scanner takes, and refuses what it calls malformed', async () => {
  // given
  const first = Math.floor(Math.random() * 2 ** 31);
  const counts = { stored: 0, refused: 0 };
  for (let seed = first; seed < first + documents; seed += atOnce) {
    const batch = Array.from({ length: atOnce }, (_, index) => scanned(seed + index));
    // when: a text parameter cannot carry U+0000, which no document may hold unescaped
    const carried = batch.filter(({ text }) => !text.includes('\u0000'));
    const answers = await refusals(carried.map(({ text }) => text));
    // then
    expect(batch.filter(({ text, fault }) => text.includes('\u0000') && fault === null)).toEqual([]);
    for (const [index, { seed: of, fault, text }] of carried.entries()) {
      const sqlstate = answers[index] ?? null;
      const agrees = fault === null ? sqlstate === null : fault !== 'malformed_json' || sqlstate !== null;
      if (!agrees) {
        throw new Error(`scanner ${fault}, PostgreSQL ${sqlstate}: ${JSON.stringify(text)} (document seed ${of})`);
      }
      counts[sqlstate === null ? 'stored' : 'refused'] += 1;
    }
  }
  // The generator must go on making both kinds, or the comparison proves nothing.
  expect(counts.stored).toBeGreaterThan(documents / 4);
  expect(counts.refused).toBeGreaterThan(documents / 4);
}, 120_000);
