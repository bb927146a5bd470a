import { enableCompileCache } from 'node:module';

/** Runs the command line of the package that `entry` (a URL inside it) belongs to. */
export async function start(entry: string): Promise<void> {
  enableCompileCache();
  const { execute } = await import('@oclif/core');
  await execute({ dir: entry });
}
