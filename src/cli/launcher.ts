/** Set for a child of the launcher; names the launcher's pid. */
export const launcherVariable = 'KPIPE_LAUNCHER';

/** A child of the launcher ends at once when the launcher was killed and so cannot pass signals on any more. */
export function endWithLauncher(): void {
  const launcher = process.env[launcherVariable];
  // What kpipe itself starts is no child of the launcher.
  delete process.env[launcherVariable];
  if (launcher !== String(process.ppid) || process.channel === undefined) {
    return;
  }
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.channel.unref();
}
