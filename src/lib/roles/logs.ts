import { openLogSink } from '../postgres/log-sink.ts';
import { openPool } from '../postgres/pool.ts';
import { createLogDecoder, type LogRow } from '../records/log.ts';
import type { Role } from '../runtime/role.ts';
import { applicationName, batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/** Log Aggregator: topic logs → structured, searchable lines in the daily partitions of kpipe.logs. */
export async function openLogsRole(environment: RoleEnvironment): Promise<Role<LogRow>> {
  const { config, admin, concurrency } = environment;
  const role = required(config.roles.logs, 'roles.logs', 'logs');
  const postgres = required(config.postgres, 'postgres', 'logs');
  const pool = await openPool(postgres, { applicationName: applicationName('logs'), max: concurrency + 1 });
  const sink = await openLogSink({
    role: 'logs',
    pool,
    statementTimeoutMs: postgres.pool.statementTimeout,
    topicId: environment.topicId,
    startPosition: startPosition(admin, role.start),
    acceptRecreated: environment.acceptRecreated,
    retentionMs: role.retention,
    clock: environment.now,
    notice: environment.notice,
  }).catch(async (error: unknown) => {
    await pool.end();
    throw error;
  });
  return {
    name: 'logs',
    topic: role.topic,
    deadLetterTopic: role.deadLetters,
    decode: createLogDecoder(role),
    sink,
    batch: batchLimits(role.batch),
    breaker: role.deadLetterBreaker,
    drainDeadlineMs: role.drainDeadline,
  };
}
