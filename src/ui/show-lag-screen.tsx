import { showFullScreen } from './full-screen.tsx';
import type { LagScreenFeed } from './lag-screen-model.ts';
import { LagScreen } from './lag-screen.tsx';

/** Shows the lag screen until somebody quits it (`interrupted` by Ctrl-C), or the signal takes it away. */
export async function showLagScreen(
  feed: LagScreenFeed,
  signal: AbortSignal,
): Promise<'quit' | 'interrupted' | 'taken away'> {
  const reason = await showFullScreen(<LagScreen feed={feed} />, signal);
  return reason === 'quit' || reason === 'interrupted' ? reason : 'taken away';
}
