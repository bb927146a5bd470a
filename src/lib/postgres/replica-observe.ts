import { setTimeout as sleep } from 'node:timers/promises';

import type { PostgresConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { formatLsn } from '../replication/lsn.ts';
import type { Asked, PrimaryFacts, ReplicationObservation, StandbyFacts } from '../replication/observation.ts';
import { AskedServer } from './asked-server.ts';
import type { PoolClient } from './pool.ts';
import { sendProbe } from './replica-probe.ts';
import { selectPrimary } from './replica-primary.ts';
import { selectStandby } from './replica-standby.ts';

export interface ObserveOptions {
  /** For each server's answer. */
  readonly deadlineMs: number;
  /** How long a standby that is behind may take to replay what the primary had flushed. */
  readonly catchUpMs: number;
  /** Write to the primary and wait so long for each standby to replay it; null: write nothing. */
  readonly probeDeadlineMs: number | null;
}

interface Standby {
  readonly name: string;
  readonly maxLagMs: number;
  readonly server: AskedServer;
}

/** The two ends of a replication, asked side by side, as often as wanted. */
export class ReplicationObserver {
  readonly #primary: AskedServer;
  readonly #standbys: readonly Standby[];
  readonly #options: ObserveOptions;
  readonly #now: () => number;

  constructor(config: PostgresConfig, options: ObserveOptions, now: () => number) {
    const asking = { applicationName: 'kpipe:replica', deadlineMs: options.deadlineMs };
    this.#primary = new AskedServer(config.primary, asking);
    this.#standbys = config.replicas.map(({ name, url, maxLag }) => ({
      name,
      maxLagMs: maxLag,
      server: new AskedServer(url, asking),
    }));
    this.#options = options;
    this.#now = now;
  }

  /** @throws KPIPE_POSTGRES_… when no server at all answers */
  async observe(): Promise<ReplicationObservation> {
    const observedAtMs = this.#now();
    // The primary's end first: what a standby says after it cannot be too little.
    const primary = await this.#primary.ask(selectPrimary);
    const askedAtMs = performance.now();
    const end = primary.kind === 'answered' && !primary.facts.inRecovery ? primary.facts.lsn : null;
    const standbys = await Promise.all(
      this.#standbys.map(async ({ name, maxLagMs, server }) => {
        const asked = await server.ask(selectStandby);
        return { name, maxLagMs, asked, catchUpMs: await this.#catchUp(server, asked, end, askedAtMs) };
      }),
    );
    if (primary.kind === 'away' && standbys.every(({ asked }) => asked.kind === 'away')) {
      throw new KpipeError('KPIPE_POSTGRES_UNREACHABLE', `no server answers; the primary: ${primary.reason}`, {
        next: 'are they running, and is the postgres section of kpipe.yaml right? `kpipe doctor` looks at every store',
      });
    }
    return { observedAtMs, primary, standbys, probe: await this.#probe(primary, standbys) };
  }

  async close(): Promise<void> {
    await Promise.all([this.#primary.close(), ...this.#standbys.map(({ server }) => server.close())]);
  }

  /** How long a standby that is behind takes to replay up to `end`; 0 when it is there; null when it does not in time. */
  async #catchUp(
    server: AskedServer,
    asked: Asked<StandbyFacts>,
    end: bigint | null,
    sinceMs: number,
  ): Promise<number | null> {
    if (end === null || asked.kind === 'away' || !asked.facts.inRecovery || asked.facts.replayPaused) {
      return null;
    }
    if (asked.facts.replayedLsn !== null && asked.facts.replayedLsn >= end) {
      return 0;
    }
    return this.#replayed(server, { lsn: end, sinceMs }, this.#options.catchUpMs);
  }

  async #probe(
    primary: Asked<PrimaryFacts>,
    standbys: readonly { readonly name: string; readonly asked: Asked<StandbyFacts> }[],
  ): Promise<ReplicationObservation['probe']> {
    const deadlineMs = this.#options.probeDeadlineMs;
    if (deadlineMs === null || primary.kind === 'away' || primary.facts.inRecovery) {
      return null;
    }
    const sent = await this.#primary.ask(sendProbe);
    if (sent.kind === 'away') {
      return null;
    }
    const inReach = this.#standbys.filter(({ name }) =>
      standbys.some(({ name: other, asked }) => other === name && asked.kind === 'answered' && asked.facts.inRecovery),
    );
    const outcomes = await Promise.all(
      inReach.map(async ({ name, server }) => ({
        standby: name,
        ms: await this.#replayed(server, { lsn: sent.facts.lsn, sinceMs: sent.facts.committedAtMs }, deadlineMs),
      })),
    );
    return { deadlineMs, outcomes };
  }

  async #replayed(server: AskedServer, until: AwaitedLsn, deadlineMs: number): Promise<number | null> {
    const answer = await server.ask((client) => untilReplayed(client, until, deadlineMs), deadlineMs);
    return answer.kind === 'answered' ? answer.facts : null;
  }
}

interface AwaitedLsn {
  readonly lsn: bigint;
  /** When it was on the primary, by performance.now(). */
  readonly sinceMs: number;
}

/** Waits until the standby has replayed up to the LSN; answers how long that took, or null when it did not in time. */
async function untilReplayed(
  client: PoolClient,
  { lsn, sinceMs }: AwaitedLsn,
  deadlineMs: number,
): Promise<number | null> {
  for (let tries = 0; ; tries += 1) {
    const { rows } = await client.query<{ readonly replayed: boolean | null }>(
      'select pg_last_wal_replay_lsn() >= $1::pg_lsn as replayed',
      [formatLsn(lsn)],
    );
    const tookMs = performance.now() - sinceMs;
    if (rows[0]?.replayed === true) {
      return tookMs;
    }
    if (tookMs >= deadlineMs) {
      return null;
    }
    // Replay takes milliseconds when all is well; a standby that lags is asked less often.
    await sleep(tries < 20 ? 1 : 20);
  }
}
