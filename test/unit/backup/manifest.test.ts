import { createHash } from 'node:crypto';

import { describe, expect, test } from 'vitest';

import { compareWithManifest, describeMismatch, insidePath, parseManifest } from '../../../src/lib/backup/manifest.ts';

const sha = (text: string): string => createHash('sha256').update(text).digest('hex');

function manifest(files: readonly object[], version = 1): string {
  const head = `{ "PostgreSQL-Backup-Manifest-Version": ${version},
${version === 2 ? '"System-Identifier": 7711263072301587672,\n' : ''}"Files": [
${files.map((file) => JSON.stringify(file)).join(',\n')}
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2F00028", "End-LSN": "0/2F00100" }
],
`;
  return `${head}"Manifest-Checksum": "${sha(head)}"}\n`;
}
const file = (path: string, text: string): object => {
  return {
    Path: path,
    Size: text.length,
    'Last-Modified': '2026-11-23 07:19:49 GMT',
    'Checksum-Algorithm': 'SHA256',
    Checksum: sha(text),
  };
};

describe('a manifest', () => {
  test('given a file of the log without a checksum, as pg_combinebackup lists it, then it is left out; any other is refused', () => {
    const bare = (path: string): object => ({ Path: path, Size: 3, 'Last-Modified': '2026-11-23 07:19:49 GMT' });

    expect(
      parseManifest(manifest([bare('pg_wal/000000010000000000000004'), file('PG_VERSION', '18')], 2)).files,
    ).toEqual([{ path: 'PG_VERSION', bytes: 2, sha256: sha('18') }]);
    expect(() => parseManifest(manifest([bare('base/5/1259')], 2))).toThrow('no SHA-256 of base/5/1259');
    expect(() => parseManifest(manifest([bare('pg_wal/../base/5/1259')], 2))).toThrow('does not stay inside');
  });

  test.each([1, 2])('given version %i, then its files and its range of the log are read', (version) => {
    const parsed = parseManifest(manifest([file('base/5/1259', 'abc')], version));

    expect(parsed).toEqual({
      version,
      files: [{ path: 'base/5/1259', bytes: 3, sha256: sha('abc') }],
      walRanges: [{ timeline: 1, start: 0x2f00028n, end: 0x2f00100n }],
    });
  });

  test('given a path that is not UTF-8, then its bytes are read', () => {
    const { Path: _path, ...rest } = file('x', 'abc') as { Path: string };

    expect(parseManifest(manifest([{ ...rest, 'Encoded-Path': '626173652f35' }])).files[0]?.path).toBe('base/5');
  });

  test('given any of its bytes is changed, then it is refused', () => {
    const text = manifest([file('base/5/1259', 'abc')]);
    for (let at = 0; at < text.length - 3; at += 1) {
      const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
      expect(() => parseManifest(changed), `byte ${at}`).toThrow(/manifest|path/);
    }
  });

  test.each(['../etc/passwd', '/etc/passwd', 'base/../../x', '', 'a//b', 'a\0b'])(
    'given the path %j, then it is refused',
    (path) => {
      expect(() => insidePath(path)).toThrow('does not stay inside');
      expect(() => parseManifest(manifest([file(path, 'x')]))).toThrow('does not stay inside');
    },
  );

  test('given files that are missing, changed, or not listed, then each is told', () => {
    const parsed = parseManifest(manifest([file('a', '1'), file('b', '2'), file('c', '3')]));

    const comparison = compareWithManifest(parsed, [
      { path: 'a', bytes: 1, sha256: sha('1') },
      { path: 'b', bytes: 1, sha256: sha('X') },
      { path: 'd', bytes: 1, sha256: sha('4') },
    ]);

    expect(comparison).toEqual({ missing: ['c'], changed: ['b'], unexpected: ['d'] });
    expect(describeMismatch(comparison)).toBe('1 missing: c; 1 not as written: b; 1 not in the manifest: d');
    expect(describeMismatch({ missing: [], changed: [], unexpected: [] })).toBeUndefined();
  });
});
