import type { ApplyEvent } from '../lib/topics/apply.ts';
import type { MoveProgress } from '../lib/topics/move/carry-out.ts';
import { openMoveFeed, type MoveFeed } from './move-feed.ts';
import { startSteps, type Steps } from './output/steps.ts';
import type { Palette } from './output/text.ts';
import { applyStepLine } from './views/topics.ts';

/** An apply's steps on stderr, and the progress of those that copy. */
export class ApplyFeed {
  readonly #steps: Steps;
  readonly #moves: MoveFeed;

  constructor(stream: NodeJS.WriteStream, palette: Palette) {
    this.#steps = startSteps(stream, palette);
    this.#moves = openMoveFeed(stream, palette);
  }

  event(event: ApplyEvent): void {
    this.#moves.clear();
    if (event.kind === 'begins' || event.kind === 'note') {
      this.#steps.running(event.text ?? applyStepLine(event));
    } else {
      this.#steps.clear();
    }
  }

  progress(progress: MoveProgress): void {
    this.#moves.show(progress);
  }
}
