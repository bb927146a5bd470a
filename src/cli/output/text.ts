import { Chalk, supportsColor, supportsColorStderr, type ChalkInstance } from 'chalk';

import { escapeControls } from './escape.ts';

/** How a piece of text is meant; the palette decides how that looks. */
export type Tone = 'plain' | 'strong' | 'dim' | 'ok' | 'warn' | 'bad' | 'accent';

export interface Span {
  readonly tone: Tone;
  readonly text: string;
}

/** A line is spans: what is printed is escaped span by span, so that no data can reach the terminal raw. */
export type Line = string | Span | readonly (string | Span)[];

export const strong = (text: string): Span => ({ tone: 'strong', text });
export const dim = (text: string): Span => ({ tone: 'dim', text });
export const ok = (text: string): Span => ({ tone: 'ok', text });
export const warn = (text: string): Span => ({ tone: 'warn', text });
export const bad = (text: string): Span => ({ tone: 'bad', text });
export const accent = (text: string): Span => ({ tone: 'accent', text });

export interface Palette {
  readonly paint: (line: Line) => string;
}

/** Colours as the stream can show them; NO_COLOR and FORCE_COLOR respected. */
export function paletteFor(stream: 'stdout' | 'stderr', env: Readonly<Record<string, string | undefined>>): Palette {
  const support = stream === 'stdout' ? supportsColor : supportsColorStderr;
  const refused = (env['NO_COLOR'] ?? '') !== '' && (env['FORCE_COLOR'] ?? '') === '';
  return palette(new Chalk({ level: refused || support === false ? 0 : support.level }));
}

function palette(chalk: ChalkInstance): Palette {
  const tones: Readonly<Record<Tone, (text: string) => string>> = {
    plain: (text) => text,
    strong: (text) => chalk.bold(text),
    dim: (text) => chalk.dim(text),
    ok: (text) => chalk.green(text),
    warn: (text) => chalk.yellow(text),
    bad: (text) => chalk.red(text),
    accent: (text) => chalk.cyan(text),
  };
  const paintSpan = (span: string | Span): string =>
    typeof span === 'string' ? escapeControls(span) : tones[span.tone](escapeControls(span.text));
  const isSpan = (line: Line): line is string | Span => typeof line === 'string' || 'tone' in line;
  return { paint: (line) => (isSpan(line) ? paintSpan(line) : line.map(paintSpan).join('')) };
}
