import { formatDuration } from '../../lib/config/units.ts';
import type { CheckLevel, CheckResult } from '../../lib/health/check.ts';
import type { DoctorReport } from '../../lib/health/doctor.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

const marks: Readonly<Record<CheckLevel, Span>> = { ok: ok('ok  '), warn: warn('warn'), fail: bad('FAIL') };

/** A line a check, the next step below each that is not well, and a count. */
export function doctorView({ checks }: DoctorReport, view: View): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length));
  const stores = Map.groupBy(checks, ({ store }) => store);
  const lines = [...stores].flatMap(([store, ofStore]): readonly Line[] => [
    [strong(store), ' ', dim(formatDuration(Math.max(...ofStore.map(({ ms }) => ms))))],
    ...ofStore.flatMap((check) => checkLines(check, width)),
  ]);
  return [...lines, summaryLine(checks)].map(view.line).join('\n');
}

function checkLines(check: CheckResult, width: number): readonly Line[] {
  const [first = '', ...rest] = check.detail.split('\n');
  const indent = ' '.repeat(2 + 4 + 2 + width + 2);
  return [
    ['  ', marks[check.level], '  ', check.name.padEnd(width), '  ', first],
    ...rest.map((line): Line => `${indent}${line}`),
    ...(check.next === null ? [] : [[indent, dim('next: '), check.next] as const]),
  ];
}

function summaryLine(checks: readonly CheckResult[]): Line {
  const failed = checks.filter(({ level }) => level === 'fail').length;
  const warned = checks.filter(({ level }) => level === 'warn').length;
  const text = `${checks.length} checks: ${checks.length - failed - warned} ok, ${warned} to look at, ${failed} failed`;
  return failed > 0 ? bad(text) : strong(text);
}
