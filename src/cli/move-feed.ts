import type { MoveProgress } from '../lib/topics/move/carry-out.ts';
import type { Palette } from './output/text.ts';
import { ProgressFeed } from './progress-feed.ts';
import { moveProgressLine } from './views/topic-moves.ts';

export type MoveFeed = ProgressFeed<MoveProgress>;

export function openMoveFeed(stream: NodeJS.WriteStream, palette: Palette): MoveFeed {
  return new ProgressFeed(stream, palette, { line: moveProgressLine, lineEveryMs: 5000 });
}
