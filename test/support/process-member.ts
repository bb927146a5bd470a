import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

import type { Ledger } from './source-member.ts';
import type { FromMember, ProcessOptions } from './source-process.ts';

/** A member in a process of its own, which can be stopped and woken. Its records take effect in the test's ledger. */
export class ProcessMember {
  /** What it has, as far as it has said. */
  readonly held = new Set<number>();
  /** How many fetches came too late to have an effect. */
  fenced = 0;
  failure: string | null = null;
  readonly #child: ChildProcess;

  constructor(options: ProcessOptions, ledger: Ledger) {
    this.#child = fork(new URL('source-process.ts', import.meta.url), [JSON.stringify(options)]);
    this.#child.on('message', (message: FromMember) => this.#take(message, ledger));
  }

  #take(message: FromMember, ledger: Ledger): void {
    switch (message.event) {
      case 'assigned': {
        const { position, epoch } = ledger.claim(message.partition);
        this.held.add(message.partition);
        this.#child.send({ partition: message.partition, epoch, position: String(position) });
        return;
      }
      case 'revoked':
        message.partitions.forEach((partition) => this.held.delete(partition));
        return;
      case 'failed':
        this.failure = message.message;
        return;
      case 'fetched': {
        const { partition, epoch, values } = message;
        const [position, nextPosition] = [BigInt(message.position), BigInt(message.nextPosition)];
        const records = values.map((value, index) => ({
          offset: position + BigInt(index),
          timestampMs: 0,
          key: null,
          value: Buffer.from(value),
          headers: [],
        }));
        this.fenced += ledger.accept({ partition, position, nextPosition, records }, epoch) ? 0 : 1;
      }
    }
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  wake(): void {
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
  }
}
