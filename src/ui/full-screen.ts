import { render } from 'ink';
import type { ReactElement } from 'react';

export const fullScreenOptions = {
  alternateScreen: true,
  // Ink would draw nothing where $CI is set; whoever calls this has looked for a terminal.
  interactive: true,
  // Only what changed is written: no flicker, and a tenth of the bytes.
  incrementalRendering: true,
  exitOnCtrlC: false,
  patchConsole: false,
} as const;

/**
 * Shows a screen on the terminal's alternate screen until it exits by itself or the signal aborts, and restores the
 * terminal. Ink restores it on `process.exit` and after a crash, too. Answers what the screen exited with.
 */
export async function showFullScreen(screen: ReactElement, signal: AbortSignal): Promise<unknown> {
  const instance = render(screen, fullScreenOptions);
  const leave = (): void => instance.unmount();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await instance.waitUntilExit();
  } finally {
    signal.removeEventListener('abort', leave);
    instance.unmount();
  }
}
