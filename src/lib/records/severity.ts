/** OpenTelemetry's severity: 1–4 TRACE, 5–8 DEBUG, 9–12 INFO, 13–16 WARN, 17–20 ERROR, 21–24 FATAL, 0 unspecified. */
export interface Severity {
  readonly number: number;
  /** The level as the producer wrote it. */
  readonly text: string | null;
}

export const unspecifiedSeverity: Severity = { number: 0, text: null };

const byName: ReadonlyMap<string, number> = new Map([
  ['trace', 1],
  ['verbose', 1],
  ['silly', 1],
  ['finest', 1],
  ['finer', 2],
  ['debug', 5],
  ['dbg', 5],
  ['fine', 5],
  ['info', 9],
  ['information', 9],
  ['informational', 9],
  ['inf', 9],
  ['log', 9],
  ['http', 9],
  ['notice', 10],
  ['warn', 13],
  ['warning', 13],
  ['wrn', 13],
  ['error', 17],
  ['err', 17],
  ['severe', 17],
  ['crit', 18],
  ['critical', 18],
  ['alert', 19],
  ['fatal', 21],
  ['panic', 21],
  ['emerg', 21],
  ['emergency', 21],
]);

/** RFC 5424's severities 0–7 as OpenTelemetry maps them. */
const bySyslog = [21, 19, 18, 17, 13, 10, 9, 5] as const;

const names = ['', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

export function severityFromName(text: string): Severity {
  const numeric = /^\d{1,3}$/.test(text) ? severityFromLevel(Number(text)) : undefined;
  return { number: numeric?.number ?? byName.get(text.trim().toLowerCase()) ?? 0, text };
}

/** A numeric level: pino's and bunyan's 10 (trace) … 60 (fatal), or syslog's 0–7. */
export function severityFromLevel(level: number): Severity {
  if (level >= 0 && level <= 7) {
    return severityFromSyslog(level);
  }
  const step = Math.min(6, Math.floor(level / 10));
  return step < 1 ? { number: 0, text: String(level) } : { number: (step - 1) * 4 + 1, text: names[step] ?? null };
}

export function severityFromSyslog(severity: number): Severity {
  const number = bySyslog[severity] ?? 0;
  return { number, text: severityName(number) };
}

/** The range's name: 18 is `error`. Empty for 0. */
export function severityName(number: number): string {
  return names[Math.ceil(number / 4)] ?? '';
}
