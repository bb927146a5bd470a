import { describe, expect, test } from 'vitest';

import {
  canonicalJson,
  generateSigningKey,
  hasValidSignature,
  parseSigningKey,
  signDocument,
} from '../../../src/lib/backup/keys.ts';
import { isBelowFloor, isTrusted } from '../../../src/lib/backup/tools.ts';
import { cronTable, systemdUnits } from '../../../src/lib/backup/unit-files.ts';
import {
  checksOfLevel,
  failed,
  isGood,
  notJudged,
  passed,
  type BackupCheck,
  type VerifyLevel,
} from '../../../src/lib/backup/verdict.ts';
import { describeFailure } from '../../../src/lib/backup/wal-check.ts';
import { Secret } from '../../../src/lib/config/secrets.ts';

const all = (level: VerifyLevel): BackupCheck[] => checksOfLevel(level).map((name) => passed(name, 1, ''));

describe('a verdict', () => {
  test.each(['manifest', 'restore', 'full'] as const)('given every check of %s held, then it is good', (level) => {
    expect(isGood(level, all(level))).toBe(true);
  });

  test.each(checksOfLevel('full'))('given %s failed, was not judged, or was not made, then it is not good', (name) => {
    const others = all('full').filter((check) => check.name !== name);

    expect(isGood('full', [...others, failed(name, 1, 'MANIFEST', 'x')])).toBe(false);
    // Only the RPO cannot be judged without a primary, which is when backups are needed.
    expect(isGood('full', [...others, notJudged(name, 'x')])).toBe(name === 'rpo');
    expect(isGood('full', others)).toBe(false);
  });

  test('given an incremental backup, then its chain and the combining of it count too', () => {
    const checks = checksOfLevel('full', 'incremental').map((name) => passed(name, 1, ''));

    expect(isGood('full', checks, 'incremental')).toBe(true);
    expect(isGood('full', all('full'), 'incremental')).toBe(false);
    expect(checksOfLevel('manifest', 'incremental')).toEqual(['signature', 'chain', 'key', 'wal', 'rpo', 'files']);
    expect(checksOfLevel('full')).not.toContain('combine');
  });

  test('given no checks, then it is not good', () => {
    expect(isGood('manifest', [])).toBe(false);
  });
});

describe('signatures', () => {
  const { privatePem, publicPem } = generateSigningKey();
  const key = parseSigningKey(privatePem);
  const document = { b: [1, { d: null, c: 'ü' }], a: true, nothing: undefined };

  test('given members in another order, then the text is the same', () => {
    expect(canonicalJson({ a: 1, b: { c: 2, d: 3 } })).toBe(canonicalJson({ b: { d: 3, c: 2 }, a: 1 }));
    expect(canonicalJson(document)).toBe('{"a":true,"b":[1,{"c":"ü","d":null}]}');
  });

  test('given a signed document, then both halves of the key find it valid, also after JSON, and no changed one', () => {
    const signed = signDocument(document, key);
    const read = JSON.parse(JSON.stringify(signed)) as Record<string, unknown>;

    expect(hasValidSignature(read, key)).toBe(true);
    expect(hasValidSignature(read, parseSigningKey(publicPem))).toBe(true);
    expect(hasValidSignature({ ...read, a: false }, key)).toBe(false);
    expect(hasValidSignature({ ...read, more: 1 }, key)).toBe(false);
    expect(hasValidSignature(document, key)).toBe(false);
    expect(hasValidSignature(read, parseSigningKey(generateSigningKey().privatePem))).toBe(false);
  });

  test('given the public half, then it cannot sign', () => {
    expect(() => signDocument(document, parseSigningKey(publicPem))).toThrow('cannot sign');
  });
});

describe('what may talk to a server that is not trusted', () => {
  test.each([
    ['15.17', true],
    ['15.18', false],
    ['16.13', true],
    ['16.14', false],
    ['17.9', true],
    ['17.10', false],
    ['18.3', true],
    ['18.4', false],
    ['14.22', true],
    ['19.0', false],
  ])('given pg_basebackup %s, then below the floor: %s', (version, below) => {
    expect(isBelowFloor(version)).toBe(below);
  });

  test.each([
    ['postgres://u@127.0.0.1:5432/d', true],
    ['postgres://u@localhost/d', true],
    ['postgres://u@%2Fvar%2Frun/d', true],
    ['postgres://u@db.example.com/d', false],
    ['postgres://u@127.example.com/d', false],
  ])('given %s, then trusted: %s', (url, trusted) => {
    const secret = new Secret(url, { directory: '/', env: {} });
    expect(isTrusted(secret, true)).toBe(true);
    expect(isTrusted(secret, false)).toBe(trusted);
  });
});

test('given what pg_waldump says when it stops, then the second position is where it stopped', () => {
  const output =
    'pg_waldump: error: error in WAL record at 0/3000110: invalid record length at 0/3000148: wanted 24, got 0\n';

  expect(describeFailure({ output }).lsn).toBe(0x3000148n);
});

describe('units', () => {
  const request = {
    program: ['/usr/bin/node', '/opt/k pipe/bin/run.js'],
    configFile: '/etc/kpipe/100%.yaml',
    context: 'prod',
    everyMs: 86_400_000,
    user: 'kpipe',
  };

  test('given systemd, then the archive is a service of its own, and paths are quoted as it wants them', () => {
    const units = systemdUnits(request);

    expect(units.map(({ path }) => path.split('/').at(-1))).toEqual([
      'kpipe-wal.service',
      'kpipe-backup.service',
      'kpipe-backup.timer',
    ]);
    expect(units[0]?.text).toContain(
      'ExecStart=/usr/bin/node "/opt/k pipe/bin/run.js" backup run --config /etc/kpipe/100%%.yaml --context prod\n',
    );
    expect(units[2]?.text).toContain('OnCalendar=daily\nPersistent=true');
    expect(systemdUnits({ ...request, everyMs: 5_400_000 })[2]?.text).toContain('OnUnitActiveSec=5400s');
  });

  test('given cron, then % is escaped, and an interval that it cannot express is refused', () => {
    expect(cronTable(request).text).toContain(
      String.raw`17 3 * * * kpipe /usr/bin/node '/opt/k pipe/bin/run.js' backup create --config '/etc/kpipe/100\%.yaml' --context prod`,
    );
    expect(() => cronTable({ ...request, everyMs: 5_400_000 })).toThrow('cron cannot express');
  });
});
