import { describe, expect, it } from 'vitest';

import { lastMeaningfulLine } from '../../../src/lib/sandbox/log-tail.ts';

describe('lastMeaningfulLine', () => {
  it.each([
    ['nothing', '', undefined],
    ['only blank lines', '\n\n', undefined],
    ['the last line when none says why', 'one\ntwo\n', 'two'],
    [
      'the exception, not its stack',
      'java.lang.IllegalStateException: no such voter\n\tat kafka.Kafka.main(Kafka.scala:1)\n\tat java.base/x\n\t... 3 more\n',
      'java.lang.IllegalStateException: no such voter',
    ],
    [
      "PostgreSQL's reason, not the notice after it",
      '2026 UTC [1] FATAL:  could not create lock file "postmaster.pid": No space left on device\n2026 UTC [1] LOG:  database system is shut down\n',
      '2026 UTC [1] FATAL:  could not create lock file "postmaster.pid": No space left on device',
    ],
    [
      'why a server ended, not what it told who asked meanwhile',
      '2026 UTC [1] FATAL:  recovery ended before configured recovery target was reached\n2026 UTC [2] FATAL:  the database system is in recovery mode\n2026 UTC [3] FATAL:  the database system is not yet accepting connections\n',
      '2026 UTC [1] FATAL:  recovery ended before configured recovery target was reached',
    ],
    [
      'an error before the lines of an orderly end',
      'ERROR Exiting Kafka due to fatal exception\nINFO [SocketServer id=1] Stopped socket server\n',
      'ERROR Exiting Kafka due to fatal exception',
    ],
  ])('finds %s', (_, log, line) => {
    expect(lastMeaningfulLine(log)).toBe(line);
  });

  it('cuts a line that is too long to quote', () => {
    expect(lastMeaningfulLine(`ERROR ${'x'.repeat(1000)}`)?.length).toBe(301);
  });
});
