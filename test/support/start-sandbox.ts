/** A kpipe that starts a sandbox and says each step on stdout, for tests that kill it on the way. Argument: the directory. */
import { startSandbox } from '../../src/lib/sandbox/sandbox.ts';

const [directory = ''] = process.argv.slice(2);
await startSandbox(
  { directory, brokers: 1, workingDirectory: directory, environment: process.env },
  ({ server, phase }) => process.stdout.write(`${server} ${phase}\n`),
  new AbortController().signal,
);
