import { describe, expect, test } from 'vitest';

import { backupProblems } from '../../../src/lib/backup/alerts.ts';
import type { BackupLine } from '../../../src/lib/backup/catalogue.ts';

const hour = 3_600_000;
const now = Date.UTC(2026, 10, 23);
const at = (hoursAgo: number): string => new Date(now - hoursAgo * hour).toISOString();

function line(hoursAgo: number, more: Partial<BackupLine> = {}): BackupLine {
  return {
    id: `h${hoursAgo}`,
    kind: 'full',
    parent: null,
    completedAt: at(hoursAgo),
    ageMs: hoursAgo * hour,
    clusterBytes: 1,
    storedBytes: 1,
    postgresVersion: '15.18',
    encrypted: true,
    signatureValid: true,
    verified: null,
    provenAt: null,
    problem: null,
    ...more,
  };
}
const alerts = { age: 26 * hour, verifiedAge: 192 * hour };
const codes = (lines: readonly BackupLine[], by = alerts): string[] =>
  backupProblems(lines, by, now).map(({ code }) => code);

describe('the state of a repository', () => {
  test.each([
    ['nothing', [], ['NONE']],
    ['a fresh one that is proven', [line(2, { provenAt: at(1) })], []],
    ['a fresh one, and an older one that was proven', [line(50, { provenAt: at(40) }), line(2)], []],
    ['one that is too old', [line(27, { provenAt: at(1) })], ['OLD']],
    ['none that was proven', [line(50), line(2)], ['UNPROVEN']],
    ['a proof that is too old', [line(300, { provenAt: at(200) }), line(2)], ['UNPROVEN']],
    [
      'the newest is not good',
      [
        line(50, { provenAt: at(40) }),
        line(2, { verified: { level: 'full', ok: false, at: at(1), ageMs: hour, code: 'MANIFEST' } }),
      ],
      ['NOT_GOOD'],
    ],
    ['only one that cannot be trusted', [line(2, { provenAt: at(1), problem: 'SIGNATURE' })], ['UNTRUSTED', 'NONE']],
  ])('given %s, then %j', (_what, lines, expected) => {
    expect(codes(lines)).toEqual(expected);
  });

  test('given no alerts, then age and proof are not judged', () => {
    expect(codes([line(5000)], {} as typeof alerts)).toEqual([]);
  });
});
