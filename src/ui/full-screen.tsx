import { render } from 'ink';
import type { ReactElement } from 'react';

import { Colors, wantsColors } from './frame.tsx';

export const fullScreenOptions = {
  alternateScreen: true,
  // Ink would draw nothing where $CI is set; whoever calls this has looked for a terminal.
  interactive: true,
  // What Ink itself draws never changes; the lines are written by Frame.
  incrementalRendering: true,
  exitOnCtrlC: false,
  patchConsole: false,
} as const;

/**
 * Shows a screen on the terminal's alternate screen until it exits by itself or the signal aborts, and restores the
 * terminal. Ink restores it on `process.exit` and after a crash, too. Answers what the screen exited with.
 */
export async function showFullScreen(screen: ReactElement, signal: AbortSignal): Promise<unknown> {
  const instance = render(<Colors value={wantsColors(process.env)}>{screen}</Colors>, fullScreenOptions);
  const leave = (): void => instance.unmount();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await instance.waitUntilExit();
  } finally {
    signal.removeEventListener('abort', leave);
    instance.unmount();
  }
}
