const bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

/**
 * The last `width` values as bars from 0 to the highest of them. A value that is not known is a gap: it is not 0.
 */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const shown = width > 0 ? values.slice(-width) : [];
  const highest = Math.max(0, ...shown.map((value) => value ?? 0));
  return shown
    .map((value) =>
      value === null ? ' ' : (bars[highest === 0 ? 0 : Math.round((value / highest) * (bars.length - 1))] ?? bars[0]),
    )
    .join('')
    .padStart(width);
}
