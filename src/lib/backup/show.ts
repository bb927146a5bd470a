import { readFileSync } from 'node:fs';

import { KpipeError, messageOf } from '../errors.ts';
import { describeBackup, findBackup, findReadable, isReport, validReports, type BackupLine } from './catalogue.ts';
import type { BackupEntry, Increment } from './entry.ts';
import { hasValidSignature } from './keys.ts';
import type { BackupPlace } from './place.ts';
import type { VerifyReport } from './verdict.ts';

/** The document of `kpipe backup show`. */
export interface BackupDescription {
  readonly line: BackupLine;
  /** What a restore of it needs, the full backup first; of a full one only itself. Null in place of one that is not there. */
  readonly chain: readonly (string | null)[];
  readonly entry: BackupEntry;
  /** Those with a valid signature, oldest first. */
  readonly reports: readonly VerifyReport[];
}

export async function showBackup(
  place: BackupPlace,
  id: string | undefined,
  nowMs: number,
): Promise<BackupDescription> {
  const known = await findBackup(place, id);
  const line = await describeBackup(place, known.id, nowMs);
  const chain = await chainOfIds(place, known.entry);
  return { line, chain, entry: known.entry, reports: await validReports(place, known.id) };
}

async function chainOfIds(place: BackupPlace, entry: BackupEntry): Promise<readonly (string | null)[]> {
  const ids = [entry.id];
  let link: BackupEntry | undefined = entry;
  while (link !== undefined && link.increment !== null) {
    const { parent }: Increment = link.increment;
    link = !ids.includes(parent) ? (await findReadable(place, parent))?.entry : undefined;
    if (link === undefined) {
      return [null, ...ids];
    }
    ids.unshift(parent);
  }
  return ids;
}

/** The document of `kpipe backup verify --report FILE`. */
export interface ReportCheck {
  readonly file: string;
  readonly signatureValid: boolean;
  readonly backupId: string | null;
  readonly level: string | null;
  readonly verifiedAt: string | null;
  /** The signature is valid, and the report says that the backup is good. */
  readonly ok: boolean;
}

/** @throws KPIPE_INPUT_INVALID when the file cannot be read */
export function checkReport({ keys }: Pick<BackupPlace, 'keys'>, file: string): ReportCheck {
  let report: unknown;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new KpipeError('KPIPE_INPUT_INVALID', `${file} is no report: ${messageOf(error)}`, {
      next: 'kpipe backup verify --json writes one',
      cause: error,
    });
  }
  if (!isReport(report)) {
    return { file, signatureValid: false, backupId: null, level: null, verifiedAt: null, ok: false };
  }
  const signatureValid = hasValidSignature(report, keys.signing);
  const { backupId, level, verifiedAt } = report;
  return { file, signatureValid, backupId, level, verifiedAt, ok: signatureValid && report.ok };
}
