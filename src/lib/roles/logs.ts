import { encodedRowBytes, type EncodedRow } from '../postgres/copy-binary.ts';
import { createLogEncoder, openLogSink } from '../postgres/log-sink.ts';
import { openPool } from '../postgres/pool.ts';
import { createLogDecoder } from '../records/log.ts';
import type { Decode } from '../runtime/batch.ts';
import type { Role } from '../runtime/role.ts';
import { applicationName, batchLimits, required, startPosition, type RoleEnvironment } from './environment.ts';

/** Log Aggregator: topic logs → structured, searchable lines in the daily partitions of kpipe.logs. */
export async function openLogsRole(environment: RoleEnvironment): Promise<Role<EncodedRow>> {
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
    decode: decodeEncoded(environment),
    sink,
    batch: batchLimits(role.batch),
    rowBytes: encodedRowBytes,
    breaker: role.deadLetterBreaker,
    drainDeadlineMs: role.drainDeadline,
  };
}

/** Record → its lines → COPY's bytes. */
function decodeEncoded({ config }: RoleEnvironment): Decode<EncodedRow> {
  const decode = createLogDecoder(required(config.roles.logs, 'roles.logs', 'logs'));
  const encode = createLogEncoder();
  return (record, partition) => {
    const decoded = decode(record);
    return decoded.kind === 'dead' ? decoded : { kind: 'row', row: encode(decoded.row, partition) };
  };
}
