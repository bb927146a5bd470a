/** Two by four dots a character; the bits of a braille cell by column and row, from the top. */
const dots = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;
const blank = 0x28_00;
const dotsWide = 2;
const dotsHigh = 4;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** How many points a chart of so many columns shows: one a dot. */
export function pointsAcross(width: number): number {
  return width * dotsWide;
}

/**
 * The last points as an area from 0 to `highest`, newest at the right, in lines of braille from the top. A value that is
 * not known is a gap; 0 is a line of dots at the bottom.
 */
export function drawArea(
  points: readonly (number | null)[],
  highest: number,
  { width, height }: Size,
): readonly string[] {
  const across = pointsAcross(width);
  const shown = points.slice(-across);
  const heights = [...Array.from({ length: across - shown.length }, () => null), ...shown].map((value) =>
    value === null ? 0 : dotsOf(value, highest, height * dotsHigh),
  );
  return Array.from({ length: height }, (_, line) =>
    Array.from({ length: width }, (__, column) => {
      const bits = [0, 1].flatMap((side) => {
        const filled = heights[column * dotsWide + side] ?? 0;
        return [0, 1, 2, 3].map((row) => {
          const fromBottom = height * dotsHigh - (line * dotsHigh + row);
          return fromBottom <= filled ? (dots[side]?.[row] ?? 0) : 0;
        });
      });
      const sum = bits.reduce<number>((all, bit) => all + bit, 0);
      return sum === 0 ? ' ' : String.fromCodePoint(blank + sum);
    }).join(''),
  );
}

/** At least one dot for what is known, at most all of them. */
function dotsOf(value: number, highest: number, all: number): number {
  return highest <= 0 ? 1 : Math.max(1, Math.min(all, Math.round((value / highest) * all)));
}
