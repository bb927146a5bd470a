import { KpipeError } from '../errors.ts';
import type { PostgresConfig } from '../config/load.ts';
import { asking, inTransaction, openPool, type Pool, type PoolClient } from './pool.ts';

/** Positions of a role as a replay sees and sets them: kpipe.consumer_offset with its stretches. */
export interface RolePosition {
  readonly partition: number;
  readonly topicId: string;
  readonly position: bigint;
  readonly epoch: bigint;
  /** The replay that set the running stretch's beginning. */
  readonly replayId: string | null;
  /** Of the running stretch and the ones before. */
  readonly records: number;
  readonly busyMs: number;
}

/** A position to set. `expected` is what it must still be; null: the role has never read the partition. */
export interface PositionMove {
  readonly partition: number;
  readonly expected: { readonly position: bigint; readonly epoch: bigint } | null;
  /** null: as if the role had never read it. */
  readonly to: bigint | null;
}

export interface MoveRequest {
  readonly role: string;
  readonly topic: string;
  readonly topicId: string;
  readonly replayId: string;
  readonly moves: readonly PositionMove[];
}

/** The truth about positions for a replay; the caller closes it. Every call throws KPIPE_POSTGRES_… or KPIPE_SCHEMA_MISSING. */
export interface ReplayPositions {
  read(role: string, topic: string): Promise<readonly RolePosition[]>;
  /**
   * Sets all positions, or none; those that this replay has set already stay. Raises the epochs, so that whoever still
   * writes with an older claim is fenced, and begins a new stretch of the accounts.
   * @throws KPIPE_PLAN_STALE when a position is no longer as expected: nothing was changed
   */
  set(request: MoveRequest): Promise<void>;
  /** Raises the epochs of positions that are still as expected: a `set` that is on its way can't happen any more. */
  fence(request: MoveRequest): Promise<void>;
  close(): Promise<void>;
}

const statementTimeoutMs = 30_000;

export async function openReplayPositions(config: PostgresConfig): Promise<ReplayPositions> {
  const pool = await openPool(config, { applicationName: `kpipe:replay:${process.pid}`, max: 1 });
  const transaction = <Result>(work: (client: PoolClient) => Promise<Result>): Promise<Result> =>
    asking(pool, (database: Pool) => inTransaction(database, statementTimeoutMs, work));
  return {
    read: (role, topic) => transaction((client) => readPositions(client, role, topic)),
    set: (request) =>
      transaction(async (client) => {
        for (const move of inOrder(request.moves)) {
          await setOne(client, request, move);
        }
      }),
    fence: (request) =>
      transaction(async (client) => {
        for (const { partition, expected } of inOrder(request.moves)) {
          await client.query(
            `update kpipe.consumer_offset
                set epoch = epoch + 1, updated_at = now()
              where role = $1 and topic = $2 and partition = $3 and epoch = $4`,
            [request.role, request.topic, partition, expected?.epoch ?? -1n],
          );
        }
      }),
    close: () => pool.end(),
  };
}

/** Always in the same order: two replays at once wait for each other instead of locking each other out. */
function inOrder(moves: readonly PositionMove[]): readonly PositionMove[] {
  return moves.toSorted((left, right) => left.partition - right.partition);
}

interface PositionRow {
  readonly partition: number;
  readonly topic_id: string;
  readonly next_offset: string;
  readonly epoch: string;
  readonly replay_id: string | null;
  readonly records: string;
  readonly busy_ms: number;
}

async function readPositions(client: PoolClient, role: string, topic: string): Promise<readonly RolePosition[]> {
  const { rows } = await client.query<PositionRow>(
    `select o.partition, o.topic_id, o.next_offset, o.epoch, o.replay_id,
            o.stored + o.duplicates + coalesce(sum(s.stored + s.duplicates), 0) as records,
            o.busy_ms + coalesce(sum(s.busy_ms), 0) as busy_ms
       from kpipe.consumer_offset o
       left join kpipe.consumer_offset_stretch s
         on s.role = o.role and s.topic = o.topic and s.partition = o.partition and s.topic_id = o.topic_id
      where o.role = $1 and o.topic = $2
      group by o.role, o.topic, o.partition
      order by o.partition`,
    [role, topic],
  );
  return rows.map((row) => ({
    partition: row.partition,
    topicId: row.topic_id,
    position: BigInt(row.next_offset),
    epoch: BigInt(row.epoch),
    replayId: row.replay_id,
    records: Number(row.records),
    busyMs: row.busy_ms,
  }));
}

async function setOne(client: PoolClient, request: MoveRequest, move: PositionMove): Promise<void> {
  const found = await client.query<Pick<PositionRow, 'next_offset' | 'epoch' | 'replay_id' | 'topic_id'>>(
    `select next_offset, epoch, replay_id, topic_id from kpipe.consumer_offset
      where role = $1 and topic = $2 and partition = $3 for update`,
    [request.role, request.topic, move.partition],
  );
  const row = found.rows[0];
  if (row?.replay_id === request.replayId || (row === undefined && move.to === null)) {
    return;
  }
  const { expected } = move;
  const isAsExpected =
    row === undefined
      ? expected === null
      : expected !== null &&
        BigInt(row.next_offset) === expected.position &&
        BigInt(row.epoch) === expected.epoch &&
        row.topic_id === request.topicId;
  if (!isAsExpected) {
    throw new KpipeError('KPIPE_PLAN_STALE', `role ${request.role} has moved since the plan was made`, {
      where: {
        topic: request.topic,
        partition: move.partition,
        planned: expected === null ? 'no position' : expected.position,
        found: row === undefined ? 'no position' : row.next_offset,
      },
      next: 'plan again; stop the role or use --pause-role',
    });
  }
  if (row === undefined) {
    await insertPosition(client, request, move);
    return;
  }
  await endStretch(client, request, move.partition);
  await (move.to === null ? forgetPosition(client, request, move) : beginStretch(client, request, move));
}

/** Epoch 1: whoever claimed at the same moment waited for this row, or was waited for. */
async function insertPosition(client: PoolClient, request: MoveRequest, move: PositionMove): Promise<void> {
  if (move.to === null) {
    return;
  }
  const inserted = await client.query(
    `insert into kpipe.consumer_offset (role, topic, topic_id, partition, next_offset, epoch, first_offset, replay_id)
     values ($1, $2, $3, $4, $5, 1, $5, $6)
     on conflict (role, topic, partition) do nothing`,
    [request.role, request.topic, request.topicId, move.partition, move.to, request.replayId],
  );
  if (inserted.rowCount !== 1) {
    throw new KpipeError('KPIPE_PLAN_STALE', `role ${request.role} has begun to read since the plan was made`, {
      where: { topic: request.topic, partition: move.partition },
      next: 'plan again; stop the role or use --pause-role',
    });
  }
}

async function endStretch(
  client: PoolClient,
  { role, topic, replayId }: MoveRequest,
  partition: number,
): Promise<void> {
  await client.query(
    `insert into kpipe.consumer_offset_stretch
       (role, topic, topic_id, partition, first_offset, next_offset, stored, duplicates, rereads, dead_letters, skipped,
        gaps, busy_ms, began_by, ended_by)
     select role, topic, topic_id, partition, first_offset, next_offset, stored, duplicates, rereads, dead_letters,
            skipped, gaps, busy_ms, replay_id, $4
       from kpipe.consumer_offset
      where role = $1 and topic = $2 and partition = $3 and next_offset <> first_offset`,
    [role, topic, partition, replayId],
  );
}

async function beginStretch(client: PoolClient, request: MoveRequest, { partition, to }: PositionMove): Promise<void> {
  await client.query(
    `update kpipe.consumer_offset
        set next_offset = $4, first_offset = $4, epoch = epoch + 1, replay_id = $5, updated_at = now(),
            stored = 0, duplicates = 0, rereads = 0, dead_letters = 0, skipped = 0, gaps = 0, busy_ms = 0
      where role = $1 and topic = $2 and partition = $3`,
    [request.role, request.topic, partition, to, request.replayId],
  );
}

async function forgetPosition(client: PoolClient, request: MoveRequest, { partition }: PositionMove): Promise<void> {
  await client.query('delete from kpipe.consumer_offset where role = $1 and topic = $2 and partition = $3', [
    request.role,
    request.topic,
    partition,
  ]);
}
