import { formatDuration } from '../lib/config/units.ts';
import type { WatchProgress } from '../lib/topics/tune/watch.ts';
import { dim, type Palette, type Span } from './output/text.ts';
import { ProgressFeed } from './progress-feed.ts';

/** What is left of a watch. */
export function openTuneFeed(stream: NodeJS.WriteStream, palette: Palette): ProgressFeed<WatchProgress> {
  return new ProgressFeed(stream, palette, {
    line: watchLine,
    terminalLine: (progress) => [...watchLine(progress), dim('   Ctrl-C: advise from what was seen')],
    lineEveryMs: 10_000,
  });
}

function watchLine({ topics, looks, leftMs }: WatchProgress): readonly (string | Span)[] {
  // Whole seconds: tenths would only flicker.
  const left = formatDuration(Math.ceil(leftMs / 1000) * 1000);
  return [
    `watching ${topics} ${topics === 1 ? 'topic' : 'topics'}  ${left} left`,
    dim(`  ${looks} ${looks === 1 ? 'look' : 'looks'}`),
  ];
}
