import type { Config, PostgresConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { probeBigQuery } from '../bigquery/probe.ts';
import { probeKafka } from '../kafka/probe.ts';
import { migrate } from '../postgres/migrate.ts';
import { openPool } from '../postgres/pool.ts';
import { probePostgres } from '../postgres/probe.ts';
import { probeRedis } from '../redis/probe.ts';
import { topicSpecs } from '../topics/spec.ts';
import { bigQueryFindings } from './bigquery.ts';
import type { CheckResult, Finding, Store } from './check.ts';
import { kafkaFindings } from './kafka.ts';
import { primaryFindings, replicaFindings, type PendingMigrations } from './postgres.ts';
import { redisFindings } from './redis.ts';

/** The JSON document of `kpipe doctor`. */
export interface DoctorReport {
  readonly checks: readonly CheckResult[];
}

export interface DoctorOptions {
  /** For each store; they are looked at at once. */
  readonly deadlineMs: number;
  readonly nowMs: number;
}

/** Probes keep the deadline themselves; loading their drivers before it and closing what they opened after it take time too. */
const marginMs = 3000;
const insufficientPrivilege = '42501';

/** Looks at every store that kpipe.yaml names. Changes nothing; a store that is away is a failed check, never an error. */
export async function examine(config: Config, options: DoctorOptions): Promise<DoctorReport> {
  const { deadlineMs } = options;
  const { postgres, redis, bigquery } = config;
  const looks = [
    look({ store: 'kafka', name: 'cluster', setting: 'kafka.brokers' }, deadlineMs, async () => {
      const specs = topicSpecs(config);
      return kafkaFindings(
        await probeKafka(
          config.kafka,
          specs.map(({ name }) => name),
          deadlineMs,
        ),
        specs,
        Object.values(config.roles).flatMap((role) => role?.deadLetters ?? []),
      );
    }),
    ...(postgres === undefined ? [] : postgresLooks(config, postgres, options)),
    ...(redis === undefined
      ? []
      : [
          look({ store: 'redis', name: 'redis', setting: 'redis.url' }, deadlineMs, async () =>
            redisFindings(await probeRedis(redis.url, deadlineMs)),
          ),
        ]),
    ...(bigquery === undefined
      ? []
      : [
          look({ store: 'bigquery', name: 'bigquery', setting: 'bigquery.endpoint' }, deadlineMs, async () =>
            bigQueryFindings(await probeBigQuery(bigquery, deadlineMs)),
          ),
        ]),
  ];
  return { checks: (await Promise.all(looks)).flat() };
}

function postgresLooks(
  config: Config,
  postgres: PostgresConfig,
  options: DoctorOptions,
): readonly Promise<readonly CheckResult[]>[] {
  const { deadlineMs } = options;
  return [
    look({ store: 'postgres', name: 'primary', setting: 'postgres.primary' }, deadlineMs, async () => {
      const facts = await probePostgres(postgres.primary, deadlineMs);
      // A standby cannot be migrated and says so by its role; who may not write is told that first.
      const pending =
        facts.inRecovery || facts.mayWrite === false ? null : await pendingMigrations(config, postgres, options.nowMs);
      return primaryFindings(facts, pending);
    }),
    ...postgres.replicas.map((replica) =>
      look(
        { store: 'postgres', name: replica.name, setting: `the url of postgres.replicas ${replica.name}` },
        deadlineMs,
        async () => replicaFindings(replica.name, await probePostgres(replica.url, deadlineMs), replica.maxLag),
      ),
    ),
  ];
}

/** What `kpipe migrate` would do, by asking it; null where this user may not know. */
async function pendingMigrations(
  config: Config,
  postgres: PostgresConfig,
  nowMs: number,
): Promise<PendingMigrations | null> {
  const pool = await openPool(postgres, { applicationName: 'kpipe:doctor', max: 1 });
  try {
    const steps = await migrate(pool, {
      projections: config.roles.events?.projections ?? [],
      logRetentionMs: config.roles.logs?.retention ?? 0,
      nowMs,
      planOnly: true,
    });
    return steps.filter(({ applied }) => !applied).map(({ kind, name }) => `${kind} ${name}`);
  } catch (error) {
    if (error instanceof KpipeError && error.where['sqlstate'] === insufficientPrivilege) {
      return null;
    }
    throw error;
  } finally {
    await pool.end();
  }
}

interface Server {
  readonly store: Store;
  /** Of the check that says whether it can be reached. */
  readonly name: string;
  /** Where kpipe.yaml says where it is. */
  readonly setting: string;
}

/** One server's checks; when it cannot be looked at, one failed check that says why. */
async function look(
  server: Server,
  deadlineMs: number,
  probe: () => Promise<readonly Finding[]>,
): Promise<readonly CheckResult[]> {
  const startedAt = performance.now();
  const findings = await withDeadline(probe(), deadlineMs + marginMs, 'no answer').catch((error: unknown) => [
    failureFinding(server, error),
  ]);
  const ms = Math.round(performance.now() - startedAt);
  return findings.map((finding) => ({
    name: finding.name,
    store: server.store,
    ok: finding.level !== 'fail',
    level: finding.level,
    detail: finding.detail,
    next: finding.next,
    ms,
  }));
}

function failureFinding({ name, setting }: Server, error: unknown): Finding {
  const away = `is it running, and is ${setting} in kpipe.yaml right?`;
  if (!(error instanceof KpipeError)) {
    return { name, level: 'fail', detail: messageOf(error), next: away };
  }
  const { host, sqlstate } = error.where;
  const detail = `${error.code} ${error.message}${host === undefined ? '' : ` (${host})`}`;
  // A server that spoke said what is wrong; of one that did not, only its address can be.
  const silent = error.code === 'KPIPE_POSTGRES_UNREACHABLE' && sqlstate === undefined;
  return { name, level: 'fail', detail, next: silent ? away : (error.next ?? away) };
}
