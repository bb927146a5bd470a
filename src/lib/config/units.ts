/** Durations, sizes and rates as people write them in kpipe.yaml (`7d`, `8MB`, `40MB/s`), and back. */

const durationMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

const sizeBytes: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** Milliseconds of `1h30m`, `200ms`, `7d`; undefined when the text is not a duration. */
export function parseDuration(text: string): number | undefined {
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/gy)];
  const length = parts.reduce((sum, part) => sum + part[0].length, 0);
  if (parts.length === 0 || length !== text.trim().length) {
    return undefined;
  }
  const total = parts.reduce((sum, part) => sum + Number(part[1]) * (durationMs[part[2] ?? ''] ?? Number.NaN), 0);
  return Number.isSafeInteger(Math.round(total)) ? Math.round(total) : undefined;
}

/** Bytes of `8MB` (10^6), `8MiB` (2^20), `4096`; undefined when the text is not a size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?$/i.exec(text.trim());
  const unit = sizeBytes[(match?.[2] ?? '').toLowerCase()];
  if (match === null || unit === undefined) {
    return undefined;
  }
  const bytes = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes a second of `40MB/s`; undefined when the text is not such a rate. */
export function parseByteRate(text: string): number | undefined {
  const match = /^(.*)\/s$/.exec(text.trim());
  return match?.[1] === undefined ? undefined : parseSize(match[1]);
}

/** Records a second of `5000`, `5k/s`, `2000/s`; undefined when the text is not such a rate. */
export function parseRecordRate(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(k|m)?(?:\/s)?$/i.exec(text.trim());
  if (match === null) {
    return undefined;
  }
  const scale = { k: 1000, m: 1_000_000 }[(match[2] ?? '').toLowerCase()] ?? 1;
  const rate = Number(match[1]) * scale;
  return rate > 0 && Number.isFinite(rate) ? rate : undefined;
}

/** The two largest units: `2d20h`, `4m12s`, `1.9s`, `12ms`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) {
    return `${Math.round(ms)}ms`;
  }
  if (ms < 10_000) {
    return `${Number((ms / 1000).toFixed(1))}s`;
  }
  const seconds = Math.round(ms / 1000);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join('');
}

/** `41 GB`, `8.2 MB`, `512 B` (powers of ten, as in kpipe.yaml). */
export function formatSize(bytes: number): string {
  const { digits, power } = scaled(bytes, 5);
  return `${power === 0 ? Math.round(bytes) : digits} ${['B', 'kB', 'MB', 'GB', 'TB', 'PB'][power] ?? 'B'}`;
}

/** `4.1k`, `2.1M`, `210`: for columns where the order matters more than the digits. */
export function formatCount(count: number): string {
  if (Math.abs(count) < 1000) {
    return Number.isInteger(count) ? String(count) : count.toFixed(count < 10 ? 1 : 0);
  }
  const { digits, power } = scaled(count, 4);
  return `${digits}${['', 'k', 'M', 'G', 'T'][power] ?? ''}`;
}

/** Two or three digits and the power of a thousand: 999,960 rounds to 1 million, not to 1000 thousand. */
function scaled(value: number, maxPower: number): { readonly digits: number; readonly power: number } {
  for (let power = 0; ; power += 1) {
    const exact = value / 1000 ** power;
    const digits = Math.abs(exact) >= 99.95 ? Math.round(exact) : Number(exact.toFixed(1));
    if (Math.abs(digits) < 1000 || power === maxPower) {
      return { digits, power };
    }
  }
}
