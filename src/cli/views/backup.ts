import { formatDuration, formatSize } from '../../lib/config/units.ts';
import type { BackupProblem } from '../../lib/backup/alerts.ts';
import type { BackupLine } from '../../lib/backup/catalogue.ts';
import type { BackupCreated, CreatePhase } from '../../lib/backup/create.ts';
import type { BackupEntry } from '../../lib/backup/entry.ts';
import type { BackupInitiated } from '../../lib/backup/init.ts';
import type { PruneResult } from '../../lib/backup/prune.ts';
import type { RestorePlan, RestoreResult } from '../../lib/backup/restore-plan.ts';
import type { BackupDescription } from '../../lib/backup/show.ts';
import type { BackupCheck, CheckName, VerifyReport } from '../../lib/backup/verdict.ts';
import type { View } from '../base-command.ts';
import type { Column } from '../output/table.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** `kpipe backup …`, as people read it. */

const phaseTexts: Readonly<Record<CreatePhase, string>> = {
  preflight: 'version, rights, slot, space, checksums',
  copy: 'pg_basebackup copies the cluster',
  store: 'encrypting, storing, reading back',
  fingerprint: 'counting and hashing every table at one LSN',
  archive: 'closing the segment, waiting until it is archived',
  publish: 'signing the entry',
};

export function phaseLine(phase: CreatePhase, detail: string, ms: number | null): Line {
  return ms === null
    ? [dim('· '), phase.padEnd(12), dim(phaseTexts[phase])]
    : [ok('✓ '), phase.padEnd(12), formatDuration(ms).padStart(6), '  ', detail];
}

const proofs: Readonly<Record<CheckName, string>> = {
  signature: 'the entry is what this key signed',
  chain: 'every backup that it is an increment of is there, and signed',
  key: 'the key is the one that it was encrypted with',
  wal: 'no segment is missing, every record has its checksum',
  rpo: 'the archive holds what the primary has written',
  files: 'every file has the SHA-256 of the manifest',
  combine: 'the links make one cluster, as its manifest says',
  start: 'a server starts on the restored files',
  recover: 'it recovers to the exact LSN of the fingerprint',
  content: 'every table holds what it held',
  queries: 'your own queries hold',
  amcheck: 'every index agrees with its table',
};

/** While a check runs: what is being proven. */
export function provingLine(name: CheckName): Line {
  return [dim('… '), name.padEnd(10), dim(`proving: ${proofs[name]}`)];
}

export function checkLine({ name, ok: good, ms, detail, code }: BackupCheck): Line {
  const mark = good === true ? ok('✓ ') : good === false ? bad('✗ ') : dim('? ');
  const failure: readonly (string | Span)[] = code === null ? [] : [bad(code), ' '];
  return [
    mark,
    name.padEnd(10),
    (good === null ? '' : formatDuration(ms)).padStart(6),
    '  ',
    ...failure,
    good === null ? dim(detail) : detail,
  ];
}

/** `live`: the checks were shown on the terminal as they were made. */
export function verifyView(live: boolean): (report: VerifyReport, view: View) => string {
  return (report, view) => verifyText(report, view, live);
}

function verifyText(report: VerifyReport, view: View, live: boolean): string {
  const { backupId, level, rtoMs, rpoMs, bytes, postgresVersion, kept, checks } = report;
  const verdict = report.ok ? ok('GOOD') : bad('NOT GOOD');
  const figures = [
    `PostgreSQL ${postgresVersion}`,
    formatSize(bytes),
    `RTO ${rtoMs === null ? '?' : formatDuration(rtoMs)}`,
    `RPO ${rpoMs === null ? '?' : rpoMs === 0 ? '0s' : formatDuration(rpoMs)}`,
  ];
  const failures = checks.filter((check) => check.ok === false);
  return [
    ...(live ? checks.filter((check) => check.ok === null) : checks).map((check) => view.line(checkLine(check))),
    '',
    view.line([strong(backupId), ` level ${level}: `, verdict, dim(`   ${figures.join(', ')}`)]),
    ...failures.flatMap(({ code, likelyCause, next }) => [
      view.line([bad(code ?? ''), dim(' likely: '), likelyCause ?? '']),
      view.line([dim('  next: '), next ?? '']),
    ]),
    ...(kept === null ? [] : [view.line([dim('kept: '), `${kept.directory}   ${kept.connect}`])]),
  ].join('\n');
}

export function createdView({ id, entry, phases, ms, repaired }: BackupCreated, view: View): string {
  const sizes = `${formatSize(entry.clusterBytes)} → ${formatSize(entry.storedBytes)} (${entry.compression}${entry.encryptionKeyId === null ? '' : ', encrypted'})`;
  return [
    ...repaired.map((text) => view.line([warn('! '), text])),
    ...entry.warnings.map((text) => view.line([warn('! '), text])),
    view.line([ok('backup '), strong(id), `  ${sizes}  in ${formatDuration(ms)}`]),
    ...(entry.increment === null ? [] : [view.line(dim(`an increment of ${entry.increment.parent}`))]),
    view.line(dim(phases.map((phase) => `${phase.name} ${formatDuration(phase.ms)}`).join(', '))),
    view.line(dim(`next: kpipe backup verify ${id}`)),
  ].join('\n');
}

export function listView(
  {
    backups,
    repository,
    problems,
  }: {
    readonly backups: readonly BackupLine[];
    readonly repository: string;
    readonly problems: readonly BackupProblem[];
  },
  view: View,
): string {
  if (backups.length === 0) {
    return view.line(`no backup in ${repository}: kpipe backup create makes one`);
  }
  return [
    view.table(
      listColumns,
      backups.map((line) => listCells(line)),
    ),
    ...problems.map(({ code, detail, next }) => view.line([bad(`${code} `), detail, dim(`  next: ${next}`)])),
  ].join('\n');
}

const listColumns: readonly Column[] = [
  { title: 'BACKUP' },
  { title: 'KIND' },
  { title: 'AGE', align: 'right' },
  { title: 'CLUSTER', align: 'right' },
  { title: 'STORED', align: 'right' },
  { title: 'POSTGRES' },
  { title: 'VERIFIED' },
  { title: 'PROVEN', align: 'right' },
];

function listCells(line: BackupLine): readonly Line[] {
  return [
    line.id,
    line.parent === null ? (line.kind ?? dim('?')) : ['increment of ', line.parent],
    line.ageMs === null ? dim('?') : formatDuration(line.ageMs),
    line.clusterBytes === null ? dim('?') : formatSize(line.clusterBytes),
    line.storedBytes === null ? dim('?') : formatSize(line.storedBytes),
    line.postgresVersion ?? dim('?'),
    verifiedCell(line),
    line.provenAt === null ? dim('never') : formatDuration(Math.max(0, Date.now() - Date.parse(line.provenAt))),
  ];
}

function verifiedCell({ verified, problem }: BackupLine): Line {
  if (problem !== null) {
    return bad(problem);
  }
  if (verified === null) {
    return dim('never');
  }
  const age = `${formatDuration(Math.max(0, verified.ageMs))} ago`;
  return verified.ok
    ? [ok('good'), ` ${verified.level} ${age}`]
    : [bad(verified.code ?? 'failed'), ` ${verified.level} ${age}`];
}

export function showView({ entry, line, chain, reports }: BackupDescription, view: View): string {
  const { fingerprint } = entry;
  const contents =
    fingerprint === null
      ? 'none'
      : fingerprint.method === 'standby'
        ? `${fingerprint.tables.length} tables on ${fingerprint.standby} at ${fingerprint.lsn} (${formatDuration(fingerprint.ms)})`
        : `${fingerprint.partitions.length} partitions below their positions`;
  const rows: readonly (readonly [string, Line])[] = [
    ['backup', strong(entry.id)],
    ...chainRows(entry, chain),
    ['made', `${entry.startedAt} – ${entry.completedAt}`],
    [
      'cluster',
      `${entry.systemIdentifier}, PostgreSQL ${entry.postgresVersion}, timeline ${entry.timeline}, checksums ${entry.dataChecksums ? 'on' : 'off'}`,
    ],
    ['log', `${entry.startLsn} – ${entry.endLsn}, archived to ${entry.archivedLsn}`],
    ['size', `${formatSize(entry.clusterBytes)} → ${formatSize(entry.storedBytes)} (${entry.compression})`],
    ['key', entry.encryptionKeyId ?? dim('not encrypted')],
    ['signature', line.signatureValid ? ok('valid') : bad('NOT VALID')],
    ['fingerprint', contents],
    ...entry.warnings.map((text): readonly [string, Line] => ['warning', warn(text)]),
    ...entry.files.map(({ name, bytes }): readonly [string, Line] => ['file', `${name}  ${formatSize(bytes)}`]),
    ...reports.map((report): readonly [string, Line] => [
      'verified',
      [
        report.verifiedAt,
        `  ${report.level}  `,
        report.ok ? ok('good') : bad(report.checks.find((check) => check.ok === false)?.code ?? 'failed'),
      ],
    ]),
  ];
  return rows.map(([name, text]) => view.line([dim(name.padEnd(12)), ...pieces(text)])).join('\n');
}

function chainRows(entry: BackupEntry, chain: BackupDescription['chain']): readonly (readonly [string, Line])[] {
  const { increment } = entry;
  if (increment === null) {
    return [['kind', 'full']];
  }
  const links = chain.flatMap((id, index): readonly (string | Span)[] => [
    index === 0 ? '' : ' ← ',
    id ?? bad('PARENT_MISSING'),
  ]);
  return [
    ['kind', `increment of ${increment.parent}, ${formatSize(increment.copiedBytes)} copied`],
    ['chain', links],
  ];
}

function pieces(line: Line): readonly (string | Span)[] {
  return typeof line === 'string' || 'tone' in line ? [line] : line;
}

export function initView(
  { made, found, repository, encryptionKeyId, signingKeyId }: BackupInitiated,
  view: View,
): string {
  return [
    ...made.map((text) => view.line([ok('made  '), text])),
    ...found.map((text) => view.line([dim('there '), text])),
    view.line(`keys: encryption ${encryptionKeyId ?? 'none'}, signing ${signingKeyId}`),
    ...(encryptionKeyId === null
      ? []
      : [
          view.line(
            warn(`keep a copy of the encryption key apart from ${repository}: without it no backup can be read`),
          ),
        ]),
    view.line(dim('next: kpipe backup create')),
  ].join('\n');
}

export function pruneView({ decisions, removedWal, planOnly }: PruneResult, view: View): string {
  const removed = decisions.filter(({ keep }) => !keep);
  return [
    ...decisions.map(({ id, keep, reason }) =>
      view.line([keep ? ok('keep    ') : warn('remove  '), id, dim(`  ${reason}`)]),
    ),
    view.line(
      `${planOnly ? 'would remove' : 'removed'} ${removed.length} backups and ${removedWal} segments of the archive`,
    ),
  ].join('\n');
}

export function restorePlanLines(plan: RestorePlan): readonly Line[] {
  return [
    [dim('backup    '), strong(plan.backupId), dim(`  made ${plan.completedAt}`)],
    ...(plan.chain.length === 1 ? [] : [[dim('chain     '), plan.chain.join(' ← ')]]),
    [dim('to        '), plan.directory],
    [dim('target    '), plan.target.text],
    [dim('archive   '), `${plan.segments} segments, every record up to ${plan.tailLsn}`],
    [dim('size      '), formatSize(plan.clusterBytes)],
    [
      dim('then      '),
      plan.promote ? 'promoted: a primary of its own timeline' : 'paused at the target: look at it, then promote',
    ],
  ];
}

export function restoreView(result: RestoreResult, view: View): string {
  return [
    ...(result.done ? [] : restorePlanLines(result.plan).map((line) => view.line(line))),
    ...(result.done
      ? [
          view.line([
            ok('restored '),
            strong(result.plan.directory),
            `  at ${result.reachedLsn ?? '?'}, last commit ${result.lastCommitAt ?? '?'}, in ${formatDuration(result.rtoMs ?? 0)}`,
          ]),
          view.line([dim('start:    '), result.startCommand]),
          ...result.gap.flatMap(({ role, partitions, replay }) => [
            view.line([dim('role      '), `${role} reads on by itself from where it stands here (${partitions})`]),
            view.line([dim('          '), dim(`the gap by hand: ${replay}`)]),
          ]),
        ]
      : [view.line(dim('nothing was done: without --plan it is'))]),
  ].join('\n');
}

export function reportCheckView(
  {
    file,
    backupId,
    signatureValid,
    ok: good,
    level,
    verifiedAt,
  }: {
    readonly file: string;
    readonly backupId: string | null;
    readonly signatureValid: boolean;
    readonly ok: boolean;
    readonly level: string | null;
    readonly verifiedAt: string | null;
  },
  view: View,
): string {
  return view.line(
    signatureValid
      ? [
          good ? ok('GOOD ') : bad('NOT GOOD '),
          `${backupId ?? '?'} level ${level ?? '?'}, verified ${verifiedAt ?? '?'}; the signature of ${file} is valid`,
        ]
      : [bad('SIGNATURE '), `${file} was changed, or another key signed it`],
  );
}
