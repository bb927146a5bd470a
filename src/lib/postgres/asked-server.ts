import type { Secret } from '../config/secrets.ts';
import { withDeadline } from '../deadline.ts';
import { KpipeError } from '../errors.ts';
import type { Asked } from '../replication/observation.ts';
import { openCuttablePool, type CuttablePool } from './cuttable-pool.ts';
import { postgresError } from './failures.ts';
import { inTransaction, type PoolClient } from './pool.ts';

export interface AskedServerOptions {
  readonly applicationName: string;
  /** For each question, the connection included. */
  readonly deadlineMs: number;
}

/**
 * One server that is asked again and again over one connection, which is made anew when it broke. No question outlasts its
 * deadline, whatever state the server is in: frozen, refusing, or gone.
 */
export class AskedServer {
  readonly #url: Secret;
  readonly #options: AskedServerOptions;
  #pool: Promise<CuttablePool> | undefined;

  constructor(url: Secret, options: AskedServerOptions) {
    this.#url = url;
    this.#options = options;
  }

  /** `work` in one transaction. `extraMs`: for a question that itself waits for something. */
  async ask<Value>(work: (client: PoolClient) => Promise<Value>, extraMs = 0): Promise<Asked<Value>> {
    const deadlineMs = this.#options.deadlineMs + extraMs;
    let opened: CuttablePool | undefined;
    try {
      opened = await this.#opened();
      const facts = await withDeadline(inTransaction(opened.pool, deadlineMs, work), deadlineMs, 'no answer');
      return { kind: 'answered', facts };
    } catch (error) {
      const failure = error instanceof KpipeError ? error : postgresError(error);
      if (failure.where['sqlstate'] === undefined) {
        // It did not speak: whatever is still open to it will not either.
        opened?.cut();
      }
      return { kind: 'away', code: failure.code, reason: failure.message };
    }
  }

  async close(): Promise<void> {
    await (await this.#pool?.catch(() => undefined))?.close();
  }

  #opened(): Promise<CuttablePool> {
    this.#pool ??= openCuttablePool(this.#url, {
      applicationName: this.#options.applicationName,
      max: 1,
      connectTimeoutMs: this.#options.deadlineMs,
    });
    return this.#pool;
  }
}
