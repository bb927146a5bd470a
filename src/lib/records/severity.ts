/** OpenTelemetry's severity: 1–4 TRACE, 5–8 DEBUG, 9–12 INFO, 13–16 WARN, 17–20 ERROR, 21–24 FATAL, 0 unspecified. */
export interface Severity {
  readonly number: number;
  /** The level as the producer wrote it. */
  readonly text: string | null;
}

export const unspecifiedSeverity: Severity = { number: 0, text: null };

const byName: ReadonlyMap<string, number> = new Map([
  ['trace', 1],
  ['t', 1],
  ['v', 1],
  ['verbose', 1],
  ['silly', 1],
  ['finest', 1],
  ['finer', 2],
  ['debug', 5],
  ['d', 5],
  ['dbg', 5],
  ['fine', 5],
  ['config', 8],
  ['info', 9],
  ['i', 9],
  ['information', 9],
  ['informational', 9],
  ['inf', 9],
  ['log', 9],
  ['http', 9],
  ['notice', 10],
  ['warn', 13],
  ['w', 13],
  ['warning', 13],
  ['wrn', 13],
  ['error', 17],
  ['e', 17],
  ['err', 17],
  ['severe', 17],
  ['crit', 18],
  ['c', 18],
  ['dpanic', 18],
  ['critical', 18],
  ['alert', 19],
  ['fatal', 21],
  ['f', 21],
  ['panic', 21],
  ['emerg', 21],
  ['emergency', 21],
]);

/** RFC 5424's severities 0–7 as OpenTelemetry maps them. */
const bySyslog = [21, 19, 18, 17, 13, 10, 9, 5] as const;

const names = ['', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

/** What terminals are coloured with: winston's `colorize` leaves it in the level. */
const colour = /\u001b\[[\d;]*m/g;
/** OpenTelemetry's short names: INFO2 is 10. */
const shortName = /^(trace|debug|info|warn|error|fatal)([1-4])$/;

/** A level's name in any of the loggers' words, or a number as text. `text` stays as the producer wrote it. */
export function severityFromName(text: string): Severity {
  const name = text.replaceAll(colour, '').trim().toLowerCase();
  const [, base = '', step] = shortName.exec(name) ?? [];
  const numeric = /^\d{1,3}$/.test(name) ? severityFromLevel(Number(name)).number : undefined;
  const stepped = step === undefined ? undefined : (byName.get(base) ?? 0) + Number(step) - 1;
  return { number: numeric ?? stepped ?? byName.get(name) ?? 0, text };
}

/** OTLP's `severityNumber`: 1 to 24, or the enum's name as protobuf's JSON may have it. 0 for anything else. */
export function severityFromOtel(text: string): Severity {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0 && number <= 24) {
    return { number, text: severityName(number) || null };
  }
  return { number: severityFromName(text.replace(/^SEVERITY_NUMBER_/, '')).number, text };
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
