import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { clip, lineWidth, spread, type Cell, type CellLine } from '../../src/ui/cell.ts';
import { frameDiff, type FrameOf } from '../../src/ui/frame-diff.ts';
import { fit, widthOf, wrapWords } from '../../src/ui/width.ts';
import { Emulator } from './fake-terminal.ts';

const paint = ({ text }: Cell): string => text;
const cell = (text: string, tone: Cell['tone'] = 'plain'): Cell => ({ text, tone });

const text = fc.string({ maxLength: 9, unit: fc.constantFrom('a', 'b', ' ', '█', '⣿', '…', '1') });
const line = fc.array(
  text.map((content) => cell(content)),
  { maxLength: 4 },
);
const frames = fc
  .record({ width: fc.integer({ min: 1, max: 20 }), height: fc.integer({ min: 1, max: 6 }) })
  .chain(({ width, height }) =>
    fc.array(
      fc
        .array(line, { minLength: height, maxLength: height })
        .map((lines): FrameOf => ({ width, lines: lines.map((cells) => clip(cells, width)) })),
      { minLength: 1, maxLength: 5 },
    ),
  );

describe('the difference of two frames', () => {
  test('given any frames after each other, when only differences are written, then the terminal shows the last one', () => {
    fc.assert(
      fc.property(frames, (shown) => {
        const [first] = shown;
        const terminal = new Emulator(first!.width, first!.lines.length);
        shown.forEach((now, at) => terminal.write(frameDiff(shown[at - 1] ?? null, now, paint)));
        const expected = shown.at(-1)!.lines.map((cells) => cells.map(paint).join('').trimEnd());
        expect(terminal.lines).toEqual(expected);
      }),
    );
  });

  test('given a cell that changed, then only it is written, and nothing where nothing changed', () => {
    const before: FrameOf = { width: 20, lines: [[cell('group'), cell('  12'), cell(' OK')], [cell('keys')]] };
    const now: FrameOf = { width: 20, lines: [[cell('group'), cell('  13'), cell(' OK')], [cell('keys')]] };

    expect(frameDiff(before, before, paint)).toBe('');
    expect(frameDiff(before, now, paint)).toBe('\u001b[?2026h\u001b[1;6H  13\u001b[?2026l');
  });

  test('given another tone, then the cell is written again', () => {
    const before: FrameOf = { width: 9, lines: [[cell('a'), cell('OK', 'ok')]] };
    const now: FrameOf = { width: 9, lines: [[cell('a'), cell('OK', 'bad')]] };
    expect(frameDiff(before, now, paint)).toContain('\u001b[1;2HOK');
  });

  test('given another size, then everything is written', () => {
    const before: FrameOf = { width: 9, lines: [[cell('a')], [cell('b')]] };
    expect(frameDiff(before, { ...before, width: 8 }, paint)).toContain('\u001b[1;1H\u001b[J');
  });
});

describe('widths', () => {
  test('given wide letters, then a cell is as wide as the terminal draws it', () => {
    expect(widthOf('消费者')).toBe(6);
    expect(widthOf('▁▂█ ⣿ ✓ › … −')).toBe(13);
    expect(fit('消费者', 5)).toBe('消费…');
    expect(fit('消费者', 4)).toBe('消… ');
    expect(fit('ab', 4, 'right')).toBe('  ab');
  });

  test('given any line, when it is clipped, then it fits, and a line that fits is left alone', () => {
    fc.assert(
      fc.property(line, fc.integer({ min: 1, max: 30 }), (cells, width) => {
        expect(lineWidth(clip(cells, width))).toBeLessThanOrEqual(width);
        if (lineWidth(cells) <= width) {
          expect(clip(cells, width)).toEqual(cells);
        }
      }),
    );
  });

  test('given a long text, when it is wrapped, then words stay whole and lines fit', () => {
    expect(wrapWords('one two three four', 9, 2)).toEqual(['one two', '  three', '  four']);
    expect(wrapWords('OUT OF SYNC  of its replicas', 20, 4)).toEqual(['OUT OF SYNC  of its', '    replicas']);
  });

  test('given no room for the right part, then it is left out', () => {
    const left: CellLine = [cell('left')];
    expect(
      spread(left, [cell('right')], 12)
        .map(paint)
        .join(''),
    ).toBe('left   right');
    expect(spread(left, [cell('right')], 10)).toEqual(left);
  });
});
