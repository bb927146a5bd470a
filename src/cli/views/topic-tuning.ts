import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { Advice, Evidence, YamlEdit } from '../../lib/topics/tune/advice.ts';
import type { TopicTuning, TunedTopic } from '../../lib/topics/tune/tune.ts';
import type { View } from '../base-command.ts';
import { accent, bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** The screen of `kpipe topics tune`. */
export function tuningView({ evidence }: { readonly evidence: boolean }) {
  return (tuning: TopicTuning, view: View): string => {
    const lines: readonly Line[] = [
      headLine(tuning),
      ...tuning.topics.flatMap((topic) => topicLines(topic, evidence)),
      ...tuning.missing.map((name): Line => [
        warn('? '),
        strong(name),
        dim('  declared and not there: kpipe topics apply'),
      ]),
      ...closingLines(tuning, evidence),
    ];
    return lines.map(view.line).join('\n');
  };
}

function headLine({ clusterId, observedAt, watchedMs, endedEarly, topics }: TopicTuning): Line {
  const time = observedAt.replace(/^.*T([\d:]+).*$/, '$1Z');
  const looks = Math.max(0, ...topics.map(({ measured }) => measured.looks));
  const watched = `watched ${formatDuration(watchedMs)}${endedEarly ? ', ended early' : ''}, ${looks} looks`;
  return dim([`cluster ${clusterId}`, `observed ${time}`, watched].join('   '));
}

function topicLines({ topic, measured, advice }: TunedTopic, evidence: boolean): readonly Line[] {
  const { recordsPerSec, bytesPerSec, partitions, replicationFactor } = measured;
  const rate = recordsPerSec === null ? '?' : `${formatCount(recordsPerSec)} records/s`;
  const size = bytesPerSec === null ? '' : `, ${formatSize(bytesPerSec)}/s`;
  return [
    [strong(topic), dim(`  ${partitions} partitions × ${replicationFactor} replicas   ${rate}${size}`)],
    ...advice.flatMap((each) => adviceLines(each, evidence)),
  ];
}

const signs: Readonly<Record<Advice['verdict'], Span>> = {
  change: warn('→'),
  notice: accent('!'),
  keep: ok('='),
  unknown: dim('?'),
};

function adviceLines(advice: Advice, evidence: boolean): readonly Line[] {
  const { rule, verdict, summary, costs, edits, producerSettings, confidence, confidenceReason } = advice;
  const isOpen = verdict === 'change' || verdict === 'notice';
  return [
    [
      '  ',
      signs[verdict],
      ` ${rule.padEnd(10)}  `,
      verdict === 'keep' ? dim(summary) : summary,
      verdict === 'unknown' ? dim(`   ${confidenceReason ?? ''}`) : '',
    ],
    ...(isOpen && confidenceReason !== null ? [labelled('trust', [`${confidence}: ${confidenceReason}`])] : []),
    ...costs.map((cost) => labelled('costs', [cost])),
    ...edits.map((edit) => labelled('yaml', editSpans(edit))),
    ...Object.entries(producerSettings).map(([key, value]) =>
      labelled('set', [`${key}=${value}`, dim(' in the producers')]),
    ),
    ...advice.commands.map((command) => labelled('then', [command])),
    ...(evidence ? advice.evidence.map((each) => labelled('seen', evidenceSpans(each))) : []),
  ];
}

const indent = ' '.repeat(16);

function labelled(label: string, spans: readonly (string | Span)[]): Line {
  return [indent, dim(label.padEnd(7)), ...spans];
}

function editSpans({ path, from, to }: YamlEdit): readonly (string | Span)[] {
  return [`${path.join('.')}: `, ...(from === null ? [] : [bad(String(from)), ' → ']), ok(String(to))];
}

function evidenceSpans({ what, value, unit, how }: Evidence): readonly (string | Span)[] {
  return [`${what}: `, value === null ? dim('?') : strong(withUnit(value, unit)), dim(`  ${how}`)];
}

function withUnit(value: number, unit: Evidence['unit']): string {
  switch (unit) {
    case 'B':
      return formatSize(value);
    case 'B/s':
    case 'B/batch':
    case 'B/record':
      return `${formatSize(value)}${unit.slice(1)}`;
    case 'ms':
      return formatDuration(value);
    case 'percent':
      return `${Math.round(value)} %`;
    default:
      return `${formatCount(value)} ${unit}`;
  }
}

function closingLines({ topics, written }: TopicTuning, evidence: boolean): readonly Line[] {
  const all = topics.flatMap(({ advice }) => advice);
  const of = (verdict: Advice['verdict']): number => all.filter((each) => each.verdict === verdict).length;
  const total = `tune: ${of('change')} to change, ${of('notice')} to know, ${of('keep')} fine, ${of('unknown')} not judged`;
  const hint = evidence || all.length === 0 ? '' : '   --evidence shows the numbers';
  const hasEdits = all.some(({ edits }) => edits.length > 0);
  return [
    ...(written === null ? [] : writtenLines(written)),
    [strong(total), dim(hint), dim(written === null && hasEdits ? '   --write edits kpipe.yaml' : '')],
  ];
}

function writtenLines({ file, diff }: NonNullable<TopicTuning['written']>): readonly Line[] {
  return [[dim('wrote '), file], ...diff.map(diffLine)];
}

function diffLine(line: string): Line {
  const paint = line.startsWith('+') ? ok : line.startsWith('-') ? bad : dim;
  return paint(line);
}
