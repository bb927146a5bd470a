import { expect, test } from 'vitest';

import { isBackupId, newBackupId } from '../../../src/lib/backup/entry.ts';

test('given backups a millisecond apart, also over the end of a second, when their ids are sorted, then the oldest is first', () => {
  const startMs = Date.parse('2026-11-23T15:44:42.000Z') - 20;
  const ids = Array.from({ length: 1100 }, (_, index) => newBackupId(startMs + index));
  expect(ids.toSorted()).toEqual(ids);
  expect(ids.every(isBackupId)).toBe(true);
});

test('given two backups of one millisecond, when they are named, then by different names', () => {
  const ids = new Set(Array.from({ length: 200 }, () => newBackupId(0)));
  expect(ids.size).toBeGreaterThan(150);
});
