import { Errors, run } from '@oclif/core';

import { printFailure } from './output/failure.ts';

const lingerMs = 2000;

export interface Invocation {
  /** The package's directory. */
  readonly root: string;
  readonly argv: readonly string[];
  /** Find the commands by their files, not in oclif.manifest.json. */
  readonly ignoreManifest: boolean;
}

/** Finds the command and runs it. What fails outside of a command (an unknown one, for example) is told like any failure. */
export async function runCommand({ root, argv, ignoreManifest }: Invocation): Promise<void> {
  try {
    await run(argv[0] === 'help' ? [...argv.slice(1), '--help'] : [...argv], { root, ignoreManifest });
  } catch (error) {
    if (error instanceof Errors.ExitError) {
      process.exit(error.oclif.exit ?? 0);
    }
    process.exitCode = printFailure(error, argv, process.env);
  }
  // A driver that still tries to reach somebody must not keep an ended command alive; without one, this timer holds nothing.
  setTimeout(() => process.exit(), lingerMs).unref();
}
