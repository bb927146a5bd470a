import type { Client } from 'pg';
import { vi } from 'vitest';

import type { FaultPipeline } from './fault-pipeline.ts';

/** The steps of a write, in order, that a transaction of role events can be held at. */
export const writeSteps = ['before COPY', 'inside COPY', 'after COPY', 'inside COMMIT'] as const;
export type WriteStep = (typeof writeSteps)[number];
/** Anywhere in a transaction of the process that `slowDown` named. */
const slowProcess = 'slow process';

/**
 * Holds kpipe's transactions at a step, from outside: triggers in the test's database ask for an advisory lock that the
 * test has or has not. kpipe itself knows nothing of it.
 */
export class Holds {
  readonly #watch: Client;
  readonly #lock: Client;

  private constructor(watch: Client, lock: Client) {
    this.#watch = watch;
    this.#lock = lock;
  }

  static async install(pipeline: FaultPipeline): Promise<Holds> {
    await pipeline.database.query(triggers);
    return new Holds(await pipeline.connect(), await pipeline.connect());
  }

  async hold(step: WriteStep): Promise<void> {
    await this.#lock.query('select pg_advisory_lock($1)', [keyOf(step)]);
  }

  async release(step: WriteStep): Promise<void> {
    await this.#lock.query('select pg_advisory_unlock($1)', [keyOf(step)]);
  }

  /** Resolves with the backends that are held at the step, as soon as there are so many. */
  async held(step: WriteStep | typeof slowProcess, atLeast = 1): Promise<readonly number[]> {
    return vi.waitUntil(
      async () => {
        const { rows } = await this.#watch.query<{ pid: number }>(
          `select pid from pg_locks
            where locktype = 'advisory' and objid = $1 and not granted
              and database = (select oid from pg_database where datname = current_database())`,
          [keyOf(step)],
        );
        return rows.length >= atLeast && rows.map(({ pid }) => pid);
      },
      { timeout: 90_000, interval: 10 },
    );
  }

  /** Every write of this process of kpipe waits until `speedUp`. */
  async slowDown(pid: number): Promise<void> {
    await this.#lock.query('select pg_advisory_lock($1)', [keyOf(slowProcess)]);
    await this.#watch.query('insert into public.slow_process values ($1)', [pid]);
  }

  async speedUp(): Promise<void> {
    await this.#watch.query('delete from public.slow_process');
    await this.#lock.query('select pg_advisory_unlock($1)', [keyOf(slowProcess)]);
  }

  async terminate(backends: readonly number[]): Promise<void> {
    await this.#watch.query('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [backends]);
  }

  /** Resolves when the server has ended what killed processes of kpipe left behind. */
  async backendsGone(): Promise<void> {
    await vi.waitUntil(async () => (await this.#backends('true')) === 0, { timeout: 90_000, interval: 10 });
  }

  /** Whether this process of kpipe waits for a lock that another transaction has. */
  async isBlocked(pid: number): Promise<boolean> {
    const isBlocked = `application_name like '%:${pid}' and wait_event_type = 'Lock' and wait_event <> 'advisory'`;
    return (await this.#backends(isBlocked)) > 0;
  }

  /** Resolves when it does. */
  async blocked(pid: number): Promise<void> {
    await vi.waitUntil(() => this.isBlocked(pid), { timeout: 90_000, interval: 10 });
  }

  async #backends(condition: string): Promise<number> {
    const { rows } = await this.#watch.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
        where datname = current_database() and application_name like 'kpipe:%' and ${condition}`,
    );
    return rows[0]?.count ?? 0;
  }
}

function keyOf(step: WriteStep | typeof slowProcess): number {
  return step === slowProcess ? 100 : 1 + writeSteps.indexOf(step);
}

const triggers = `
  create function public.hold() returns trigger language plpgsql as $$
  begin
    perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint);
    return new;
  end $$;
  create table public.slow_process (pid bigint not null);
  create function public.hold_slow() returns trigger language plpgsql as $$
  begin
    if exists (select from public.slow_process where current_setting('application_name') like '%:' || pid) then
      perform pg_advisory_xact_lock_shared(${keyOf(slowProcess)});
    end if;
    return null;
  end $$;
  create trigger hold_slow after insert on kpipe.events for each statement execute function public.hold_slow();
  create trigger hold_before_copy before update on kpipe.consumer_offset for each row
    when (old.next_offset <> new.next_offset) execute function public.hold(${keyOf('before COPY')});
  create trigger hold_inside_copy before insert on kpipe.events for each row
    when (new.kafka_offset % 10 = 7) execute function public.hold(${keyOf('inside COPY')});
  create trigger hold_after_copy before update on kpipe.consumer_offset for each row
    when (old.stored <> new.stored) execute function public.hold(${keyOf('after COPY')});
  create constraint trigger hold_inside_commit after insert on kpipe.events deferrable initially deferred for each row
    execute function public.hold(${keyOf('inside COMMIT')});`;
