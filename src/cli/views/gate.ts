import { formatDuration } from '../../lib/config/units.ts';
import type { FindingLevel, GatePart, GateReport, GateState } from '../../lib/health/gate.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

const states: Readonly<Record<GateState, Span>> = {
  ok: ok('ok     '),
  skipped: dim('skipped'),
  unknown: warn('UNKNOWN'),
  warn: warn('WARN   '),
  fail: bad('FAIL   '),
};

const marks: Readonly<Record<FindingLevel, Span>> = { unknown: warn('? '), warn: warn('! '), fail: bad('✗ ') };

/** A line a part, its findings below with what to do, and the verdict. */
export function gateView({ parts, ok: isFine }: GateReport, view: View): string {
  const width = Math.max(0, ...parts.map(({ part }) => part.length));
  const wrong = parts.filter(({ findings }) => findings.length > 0).map(({ part }) => part);
  const verdict = isFine ? ok('nothing to act on') : bad(`to act on: ${wrong.join(', ')}`);
  return [...parts.flatMap((part) => partLines(part, width)), verdict].map(view.line).join('\n');
}

function partLines({ part, state, detail, findings, ms }: GatePart, width: number): readonly Line[] {
  const took = state === 'skipped' ? '' : `  ${formatDuration(ms)}`;
  return [
    [states[state], '  ', strong(part.padEnd(width)), '  ', detail, dim(took)],
    ...findings.flatMap((finding): readonly Line[] => [
      ['  ', marks[finding.level], finding.detail],
      ...(finding.next === null ? [] : [['    ', dim('next: '), finding.next] as const]),
    ]),
  ];
}
