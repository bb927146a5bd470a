import { formatCount, formatSize } from '../../lib/config/units.ts';
import { placeText, type Place } from '../../lib/dlq/dead-letter.ts';
import type { DlqListReport, LetterCounts } from '../../lib/dlq/list.ts';
import type { PurgePlan, PurgeReport } from '../../lib/dlq/purge.ts';
import type { NotRedriven, RedrivePlan } from '../../lib/dlq/redrive-plan.ts';
import type { RedriveReport } from '../../lib/dlq/redrive.ts';
import type { DlqShowReport } from '../../lib/dlq/show.ts';
import type { ShownLetter } from '../../lib/dlq/shown-letter.ts';
import type { ShownBytes } from '../../lib/records/shown-bytes.ts';
import type { View } from '../base-command.ts';
import { hexLines } from '../output/hex.ts';
import { accent, bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** Screens of `kpipe dlq …`. */

const keyWidth = 24;
const valueWidth = 60;

export function dlqListView(report: DlqListReport, view: View): string {
  const { deadLetters } = report;
  const table = view.table(
    [
      { title: 'ROLE' },
      { title: 'REASON' },
      { title: 'ORIGIN' },
      { title: 'AT' },
      { title: 'REDRIVES', align: 'right' },
      { title: 'KEY' },
      { title: 'VALUE' },
    ],
    deadLetters.map((letter) => [
      letter.role ?? '–',
      reasonCell(letter),
      placeText(letter.source),
      letter.at ?? '?',
      stateCell(letter),
      clipped(inOneLine(letter.key), keyWidth),
      valueCell(letter),
    ]),
  );
  return deadLetters.length === 0 ? '' : table;
}

/** Under the list, on stderr: what there is in all. */
export function dlqCountLines(report: DlqListReport): readonly Line[] {
  const { counts, deadLetters, foreign, missingTopics } = report;
  const hidden = counts.dead + counts.quarantined - deadLetters.filter(({ state }) => state !== 'redriven').length;
  return [
    ...missingTopics.map((topic) => warn(`${topic} does not exist: nothing can be buried there (kpipe topics apply)`)),
    countsText(counts),
    ...(hidden > 0
      ? [dim(`only the newest are shown, ${formatCount(hidden)} are not: raise --max or narrow the choice`)]
      : []),
    ...(foreign > 0 ? [dim(`${formatCount(foreign)} records there are no dead letters that kpipe can read`)] : []),
  ];
}

function countsText({ dead, quarantined, redriven, byReason }: LetterCounts): Line {
  const reasons = Object.entries(byReason)
    .toSorted(([, left], [, right]) => right - left)
    .map(([reason, count]) => `${formatCount(count)} ${reason}`);
  if (dead + quarantined === 0) {
    return [ok('no dead letters'), ...(redriven > 0 ? [dim(` (${formatCount(redriven)} redriven: --all)`)] : [])];
  }
  return [
    strong(`${formatCount(dead + quarantined)} dead`),
    `: ${reasons.join(', ')}`,
    ...(quarantined > 0 ? [warn(`; ${formatCount(quarantined)} quarantined`)] : []),
    ...(redriven > 0 ? [dim(`; ${formatCount(redriven)} redriven`)] : []),
  ];
}

function reasonCell({ reason, sqlstate }: ShownLetter): Line {
  return sqlstate === null ? bad(reason) : [bad(reason), dim(` ${sqlstate}`)];
}

function stateCell({ state, redrives }: ShownLetter): Span | string {
  switch (state) {
    case 'dead':
      return String(redrives);
    case 'quarantined':
      return warn(`${redrives} quarantined`);
    case 'redriven':
      return dim(`${redrives} redriven`);
  }
}

function valueCell({ valuePreview, valueBytes, valueOmitted }: ShownLetter): Line {
  if (valueOmitted) {
    return dim(`${formatSize(valueBytes ?? 0)}, left where it came from`);
  }
  return valuePreview === null ? dim('null') : clipped(valuePreview, valueWidth);
}

function inOneLine(bytes: ShownBytes): string {
  if (bytes === null) {
    return '–';
  }
  return typeof bytes === 'string' ? bytes : `0x${Buffer.from(bytes.base64, 'base64').toString('hex')}`;
}

function clipped(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1).toWellFormed()}…` : text;
}

export function dlqShowView(letter: DlqShowReport, view: View): string {
  const field = (name: string, value: Line): Line => [dim(name.padEnd(11)), ...(isParts(value) ? value : [value])];
  const { redrives, state, attempts, firstFailedAt } = letter;
  return [
    field('origin', strong(placeText(letter.source))),
    field('reason', reasonCell(letter)),
    field('means', letter.means),
    ...(letter.message === '' ? [] : [field('message', letter.message)]),
    field('next', accent(letter.next)),
    field(
      'buried',
      `${letter.at ?? '?'} by role ${letter.role ?? '?'}, after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`,
    ),
    ...(firstFailedAt === null || redrives === 0 ? [] : [field('first', `failed ${firstFailedAt}`)]),
    field('redrives', state === 'dead' ? String(redrives) : [`${redrives}, `, warn(state)]),
    field(
      'kept at',
      `${placeText(letter.deadLetter)}${letter.copies > 1 ? `, and ${letter.copies - 1} times more` : ''}`,
    ),
    ...bytesLines('key', letter.key),
    ...letter.headers.flatMap(({ name, value }) => bytesLines(`header ${name}`, value)),
    ...valueLines(letter),
  ]
    .map(view.line)
    .join('\n');
}

function isParts(line: Line): line is readonly (string | Span)[] {
  return Array.isArray(line);
}

function valueLines({ value, valueFrom, valueBytes }: DlqShowReport): readonly Line[] {
  if (valueFrom === 'gone') {
    return [[dim('value      '), bad(`${formatSize(valueBytes ?? 0)}, gone from where the record failed`)]];
  }
  return bytesLines(valueFrom === 'origin' ? 'value (read from its origin)' : 'value', value);
}

const maxTextLines = 60;

/** Text as lines behind a mark, so that no line can be taken for ours; other bytes as hex. */
function bytesLines(name: string, bytes: ShownBytes): readonly Line[] {
  if (bytes === null) {
    return [[dim(name.padEnd(11)), dim('null')]];
  }
  if (typeof bytes !== 'string') {
    const binary = Buffer.from(bytes.base64, 'base64');
    return [dim(`${name}  ${formatSize(binary.length)}, not UTF-8`), ...hexLines(binary)];
  }
  const [first = '', ...rest] = bytes.split('\n');
  const shown = rest.slice(0, maxTextLines);
  return [
    [dim(name.padEnd(11)), ...(name.length > 10 ? ['  '] : []), first],
    ...shown.map((text): Line => [dim('         │ '), text]),
    ...(rest.length > shown.length
      ? [dim(`         │ … ${rest.length - shown.length} more lines (--json has all)`)]
      : []),
  ];
}

const whyTexts: Readonly<Record<NotRedriven['why'], string>> = {
  quarantined: 'quarantined after 3 redrives (--force redrives them all the same)',
  undecodable: 'in a batch that no client can read',
  'value gone': 'too large for the dead-letter topic, and gone from where they failed',
};

/** What would be done, before the question. */
export function redrivePlanLines(plan: RedrivePlan): readonly Line[] {
  const { letters, notRedriven, role, to, deadLetterTopic, isMissing } = plan;
  if (isMissing) {
    return [warn(`${deadLetterTopic} does not exist: there is nothing to redrive`)];
  }
  const bytes = letters.reduce((sum, letter) => sum + letter.bytes, 0);
  const byTopic = [...Map.groupBy(letters, ({ source }) => to ?? source.topic)];
  const reasons = [...Map.groupBy(letters, ({ reason }) => reason)].map(([reason, of]) => `${of.length} ${reason}`);
  return [
    letters.length === 0
      ? dim(`nothing to redrive for role ${role}`)
      : [
          strong(counted(letters.length, 'dead letter')),
          ` of role ${role}, ${formatSize(bytes)}: ${reasons.join(', ')}`,
        ],
    ...byTopic.map(([topic, of]): Line => [
      dim('  to '),
      `${topic}: ${counted(of.length, 'record')}, written now, after newer ones of the same key`,
    ]),
    ...notRedrivenLines(notRedriven),
    ...(plan.beyondMax > 0 ? [dim(`  ${formatCount(plan.beyondMax)} more match, beyond --max`)] : []),
    ...(plan.alreadyRedriven > 0
      ? [dim(`  ${formatCount(plan.alreadyRedriven)} were redriven before (--again redrives them once more)`)]
      : []),
  ];
}

function notRedrivenLines(letters: readonly NotRedriven[]): readonly Line[] {
  return [...Map.groupBy(letters, ({ why }) => why)].map(([why, of]): Line => [
    warn(`  ${formatCount(of.length)} stay: `),
    `${whyTexts[why]}: ${places(of.map(({ source }) => source))}`,
  ]);
}

function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

const namedPlaces = 5;

function places(sources: readonly Place[]): string {
  const named = sources.slice(0, namedPlaces).map(placeText).join(', ');
  return sources.length > namedPlaces ? `${named} and ${sources.length - namedPlaces} more` : named;
}

export function redriveView(report: RedriveReport, view: View): string {
  const { redriven, planned, left, interrupted, stoppedBy, dryRun, redrivenMeanwhile } = report;
  if (dryRun) {
    return view.line(dim(`dry run: nothing was written (${formatCount(planned)} would be redriven)`));
  }
  const last = redriven.at(-1);
  const head = left + report.unsure === 0 ? ok('redriven') : warn(interrupted ? 'interrupted' : 'stopped');
  return [
    ...(planned === 0
      ? []
      : [
          [
            head,
            `  ${formatCount(redriven.length)} of ${formatCount(planned)} in ${report.seconds.toFixed(1)} s`,
          ] as Line,
        ]),
    ...(last === undefined
      ? []
      : [
          [
            dim('  last: '),
            `${placeText(last.source)} → ${last.to.topic}/${last.to.partition}@${last.to.offset ?? '?'}`,
          ] as Line,
        ]),
    ...(left > 0 ? [dim(`  ${formatCount(left)} are left: the next redrive goes on with them`)] : []),
    ...(report.unsure > 0
      ? [
          warn(
            `  of ${formatCount(report.unsure)} the commit's answer was lost: the next redrive finds out, and repeats none`,
          ),
        ]
      : []),
    ...(redrivenMeanwhile > 0
      ? [dim(`  ${formatCount(redrivenMeanwhile)} had been redriven by somebody else meanwhile`)]
      : []),
    ...notRedrivenLines(report.notRedriven),
    ...(stoppedBy === null ? [] : [[bad(`  ${stoppedBy.code}`), ` ${stoppedBy.message}`] as Line]),
  ]
    .map(view.line)
    .join('\n');
}

export function purgePlanLines({ cuts, loss, deadLetterTopic, isMissing }: PurgePlan): readonly Line[] {
  if (isMissing) {
    return [warn(`${deadLetterTopic} does not exist: there is nothing to purge`)];
  }
  const behind =
    loss.behind === 0
      ? []
      : [
          dim(
            `  ${formatCount(loss.behind)} more match, but lie behind letters that do not: Kafka deletes only from the beginning`,
          ),
        ];
  if (cuts.length === 0) {
    return [dim(`nothing to purge in ${deadLetterTopic}`), ...behind];
  }
  const lost = loss.dead + loss.quarantined;
  const reasons = Object.entries(loss.byReason).map(([reason, count]) => `${formatCount(count)} ${reason}`);
  return [
    lost === 0
      ? ok(`no dead letter is lost: ${formatCount(loss.redriven)} were redriven`)
      : [bad(`${counted(lost, 'dead letter')} will be lost for good`), `: ${reasons.join(', ')}`],
    ...(lost > 0 && loss.redriven > 0 ? [dim(`  and ${formatCount(loss.redriven)} that were redriven`)] : []),
    ...(loss.foreign > 0 ? [bad(`  and ${formatCount(loss.foreign)} records that are no dead letters`)] : []),
    ...cuts.map(({ topic, partition, from, to }) => dim(`  ${topic}/${partition}: offsets ${from} to ${to - 1n}`)),
    ...behind,
  ];
}

export function purgeView(report: PurgeReport, view: View): string {
  const { dryRun, purged, loss } = report;
  if (dryRun) {
    return view.line(dim('dry run: nothing was deleted'));
  }
  const gone = loss.dead + loss.quarantined;
  return purged
    ? view.line([ok('purged'), `  ${counted(gone, 'dead letter')}, ${formatCount(loss.redriven)} redriven before`])
    : '';
}
