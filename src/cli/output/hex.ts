import { dim, type Line } from './text.ts';

const bytesPerLine = 16;
const maxLines = 32;

/** Bytes as people read them: offset, hex, and what of it is ASCII. Long ones are cut. */
export function hexLines(bytes: Buffer): readonly Line[] {
  const shown = bytes.subarray(0, bytesPerLine * maxLines);
  const lines: Line[] = [];
  for (let at = 0; at < shown.length; at += bytesPerLine) {
    const row = shown.subarray(at, at + bytesPerLine);
    const hex = (row.toString('hex').match(/../g) ?? []).join(' ').padEnd(bytesPerLine * 3 - 1);
    const ascii = row.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.');
    lines.push([dim(`  ${at.toString(16).padStart(6, '0')}  `), hex, dim(`  ${ascii}`)]);
  }
  return bytes.length > shown.length ? [...lines, dim(`  … ${bytes.length - shown.length} more bytes`)] : lines;
}
