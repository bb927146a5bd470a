/** What `kpipe check` answers: every part judged by kpipe.yaml's alerts; the JSON contract of `check --json`. */
export interface GateReport {
  /** ISO 8601. */
  readonly observedAt: string;
  /** No part has a finding. */
  readonly ok: boolean;
  readonly parts: readonly GatePart[];
}

export const gatePartNames = ['lag', 'brokers', 'replica', 'backup', 'redis', 'bigquery'] as const;
export type GatePartName = (typeof gatePartNames)[number];

export interface GatePart {
  readonly part: GatePartName;
  /** As its worst finding; `skipped`: kpipe.yaml has nothing of it. */
  readonly state: GateState;
  /** One phrase: what is the case, or why it was skipped. */
  readonly detail: string;
  readonly findings: readonly GateFinding[];
  readonly figures: readonly GateFigure[];
  readonly ms: number;
}

export type GateState = 'ok' | 'skipped' | FindingLevel;
/** `unknown`: it could not be looked at, which is not fine. */
export type FindingLevel = 'unknown' | 'warn' | 'fail';

export interface GateFinding {
  readonly level: FindingLevel;
  readonly detail: string;
  readonly next: string | null;
}

/** A number worth keeping over time, with the alerts that it is judged by. */
export interface GateFigure {
  /** Letters, digits and `_`. */
  readonly name: string;
  readonly value: number;
  readonly unit: 's' | 'B' | '%' | '';
  /** From where on it fails, as a Nagios range; null: it is not judged. */
  readonly critical: string | null;
}

const badness: Readonly<Record<GateState, number>> = { skipped: 0, ok: 0, unknown: 1, warn: 2, fail: 3 };

/** What a look at a part has found, before it is judged as a whole. */
export type Looked = Pick<GatePart, 'detail' | 'findings' | 'figures'>;

export function judgedPart(part: GatePartName, looked: Looked, ms: number): GatePart {
  const state = looked.findings.reduce<GateState>(
    (worst, { level }) => (badness[level] > badness[worst] ? level : worst),
    'ok',
  );
  return { part, state, ...looked, ms };
}

export function skippedPart(part: GatePartName, reason: string): GatePart {
  return { part, state: 'skipped', detail: reason, findings: [], figures: [], ms: 0 };
}

export function gateReport(parts: readonly GatePart[], observedAtMs: number): GateReport {
  return {
    observedAt: new Date(observedAtMs).toISOString(),
    ok: parts.every(({ findings }) => findings.length === 0),
    parts,
  };
}

export type NagiosCode = 0 | 1 | 2 | 3;

/**
 * A plugin's answer by the Nagios rules: one line, `|`, performance data; 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Critical
 * goes before warning, and that before unknown. Where no part could be judged the state is unknown.
 */
export function nagiosLine({ parts }: GateReport): { readonly code: NagiosCode; readonly line: string } {
  const judged = parts.filter(({ state }) => state !== 'skipped');
  const worst = judged.reduce((most, { state }) => Math.max(most, badness[state]), 0);
  const { code, word } = judged.length === 0 ? nagiosUnknown : (nagiosStates[worst] ?? nagiosUnknown);
  const wrong = parts.flatMap(({ part, findings }) =>
    findings
      .toSorted((left, right) => badness[right.level] - badness[left.level])
      .map(({ detail }) => `${part}: ${detail}`),
  );
  const fine = judged.filter(({ state }) => state === 'ok').map(({ part }) => part);
  const skipped = parts.filter(({ state }) => state === 'skipped').map(({ part }) => part);
  const said = [
    ...wrong,
    ...(fine.length === 0 ? [] : [`${fine.join(', ')} ok`]),
    ...(skipped.length === 0 ? [] : [`not configured: ${skipped.join(', ')}`]),
  ].join('; ');
  const figures = parts.flatMap((part) => part.figures.map((figure) => perfdata(part.part, figure)));
  return { code, line: `KPIPE ${word} - ${plainText(said)}${figures.length === 0 ? '' : ` | ${figures.join(' ')}`}` };
}

/** For a check that could not begin: no configuration, a wrong argument. */
export function nagiosFailure(message: string): { readonly code: NagiosCode; readonly line: string } {
  return { code: nagiosUnknown.code, line: `KPIPE ${nagiosUnknown.word} - ${plainText(message)}` };
}

const nagiosUnknown = { code: 3, word: 'UNKNOWN' } as const;
const nagiosStates: readonly { readonly code: NagiosCode; readonly word: string }[] = [
  { code: 0, word: 'OK' },
  nagiosUnknown,
  { code: 1, word: 'WARNING' },
  { code: 2, word: 'CRITICAL' },
];

/** `lag_events_time=1.9s;;300`. */
function perfdata(part: GatePartName, { name, value, unit, critical }: GateFigure): string {
  return `${part}_${name.replaceAll(/\W/g, '_')}=${value}${unit}${critical === null ? '' : `;;${critical}`}`;
}

/** A `|` would begin the performance data, a line break the next line. */
function plainText(text: string): string {
  return text.replaceAll('|', '/').replaceAll(/\s+/g, ' ').trim();
}
