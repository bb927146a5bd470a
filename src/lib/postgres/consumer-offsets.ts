import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { Claim, OffsetRow, SinkBatch } from '../runtime/sink.ts';
import { inTransaction, type Pool, type PoolClient } from './pool.ts';

/**
 * kpipe.consumer_offset: where a role stands, moved in the data's own transaction. `epoch` fences: each claim raises it,
 * and a write must name the epoch of its claim.
 */
export interface ClaimRequest {
  readonly role: string;
  readonly partition: TopicPartition;
  readonly topicId: string;
  /** Where a role that has never read this partition begins; asked only then. */
  readonly startPosition: () => Promise<bigint>;
  /** The operator's word that the topic was deleted and created again. */
  readonly acceptRecreated: boolean;
  /** What else must forget the old topic's offsets; runs in the claim's transaction. */
  readonly onRecreated?: ((client: PoolClient) => Promise<void>) | undefined;
  readonly statementTimeoutMs: number;
}

interface ClaimedRow {
  readonly next_offset: string;
  readonly epoch: string;
  readonly topic_id: string;
}

/** Claims a partition; a transaction of whoever had it ends first, since it holds the row. */
export async function claimPartition(pool: Pool, request: ClaimRequest): Promise<Claim> {
  const claim =
    (await claimFrom(pool, request, null)) ?? (await claimFrom(pool, request, await request.startPosition()));
  if (claim === null) {
    throw new KpipeError('KPIPE_POSTGRES_FAILED', 'the claim changed no row of kpipe.consumer_offset', {
      where: { ...request.partition },
    });
  }
  return claim;
}

/** `start`: where to begin without a position; null: not asked yet. Answers null where it would be needed. */
function claimFrom(pool: Pool, request: ClaimRequest, start: bigint | null): Promise<Claim | null> {
  const { role, partition, topicId } = request;
  return inTransaction(pool, request.statementTimeoutMs, async (client) => {
    if (start !== null) {
      await client.query(
        `insert into kpipe.consumer_offset (role, topic, topic_id, partition, next_offset, epoch, first_offset)
         values ($1, $2, $3, $4, $5, 0, $5)
         on conflict (role, topic, partition) do nothing`,
        [role, partition.topic, topicId, partition.partition, start],
      );
    }
    const claimed = await client.query<ClaimedRow>(
      `update kpipe.consumer_offset
          set epoch = epoch + 1, updated_at = now()
        where role = $1 and topic = $2 and partition = $3
       returning next_offset, epoch, topic_id`,
      [role, partition.topic, partition.partition],
    );
    const row = claimed.rows[0];
    if (row === undefined) {
      return null;
    }
    if (row.topic_id !== topicId) {
      requireAccepted(request, row);
      return start === null ? null : recreated(client, request, row, start);
    }
    return { ...partition, position: BigInt(row.next_offset), epoch: BigInt(row.epoch) };
  });
}

function requireAccepted({ role, partition, acceptRecreated }: ClaimRequest, row: ClaimedRow): void {
  if (!acceptRecreated) {
    throw new KpipeError(
      'KPIPE_TOPIC_RECREATED',
      `the topic ${partition.topic} was deleted and created again: role ${role} stood at ${row.next_offset} of the old one`,
      { where: { ...partition }, next: '`--accept-recreated` begins the new topic at its start' },
    );
  }
}

/** A topic of the same name with another id: the old offsets mean nothing in it. */
async function recreated(client: PoolClient, request: ClaimRequest, row: ClaimedRow, start: bigint): Promise<Claim> {
  const { role, partition, topicId } = request;
  await request.onRecreated?.(client);
  await client.query(
    `update kpipe.consumer_offset
        set topic_id = $4, next_offset = $5, first_offset = $5,
            stored = 0, duplicates = 0, rereads = 0, dead_letters = 0, skipped = 0, gaps = 0, busy_ms = 0,
            replay_id = null
      where role = $1 and topic = $2 and partition = $3`,
    [role, partition.topic, partition.partition, topicId, start],
  );
  return { ...partition, position: start, epoch: BigInt(row.epoch) };
}

/** What became of a batch's rows, in records. */
export interface StoredCounts {
  readonly stored: number;
  readonly duplicates: number;
  /** Of the duplicates, those whose row was there already from this very record: it was read again. */
  readonly rereads: number;
}

export type Advance = 'moved' | 'already-moved' | 'fenced';

/**
 * The compare-and-set that comes first in a write's transaction, so that a zombie stops before it writes.
 * `already-moved`: this very write was committed before, and its reply was lost.
 */
export async function advance(
  client: PoolClient,
  role: string,
  claim: Claim,
  batch: SinkBatch<OffsetRow>,
): Promise<Advance> {
  const moved = await client.query(
    `update kpipe.consumer_offset
        set next_offset = $6, updated_at = now(),
            dead_letters = dead_letters + $7, skipped = skipped + $8, gaps = gaps + $9
      where role = $1 and topic = $2 and partition = $3 and next_offset = $4 and epoch = $5`,
    [
      role,
      claim.topic,
      claim.partition,
      batch.position,
      claim.epoch,
      batch.nextPosition,
      batch.deadLetters,
      batch.skipped,
      batch.gaps,
    ],
  );
  if (moved.rowCount === 1) {
    return 'moved';
  }
  const found = await client.query<{ next_offset: string; epoch: string }>(
    'select next_offset, epoch from kpipe.consumer_offset where role = $1 and topic = $2 and partition = $3',
    [role, claim.topic, claim.partition],
  );
  const row = found.rows[0];
  const isOurs = row !== undefined && BigInt(row.epoch) === claim.epoch;
  return isOurs && BigInt(row.next_offset) === batch.nextPosition && batch.nextPosition !== batch.position
    ? 'already-moved'
    : 'fenced';
}

/** Counts what the write came to and how long it took, in the same transaction. */
export async function countStored(client: PoolClient, role: string, claim: Claim, counts: StoredCounts): Promise<void> {
  await client.query(
    `update kpipe.consumer_offset
        set stored = stored + $4, duplicates = duplicates + $5, rereads = rereads + $6,
            busy_ms = busy_ms + 1000 * extract(epoch from clock_timestamp() - transaction_timestamp())
      where role = $1 and topic = $2 and partition = $3`,
    [role, claim.topic, claim.partition, counts.stored, counts.duplicates, counts.rereads],
  );
}

/** Those whose position or epoch the database no longer has: it was set back under them, or somebody else has claimed. */
export async function strayedClaims<Standing extends { readonly claim: Claim; readonly position: bigint }>(
  pool: Pool,
  role: string,
  standings: readonly Standing[],
  statementTimeoutMs: number,
): Promise<readonly Standing[]> {
  const { rows } = await inTransaction(pool, statementTimeoutMs, (client) =>
    client.query<{ topic: string; partition: number; next_offset: string; epoch: string }>(
      'select topic, partition, next_offset, epoch from kpipe.consumer_offset where role = $1',
      [role],
    ),
  );
  const stored = new Set(rows.map((row) => `${row.topic}/${row.partition}@${row.next_offset}#${row.epoch}`));
  return standings.filter(
    ({ claim, position }) => !stored.has(`${claim.topic}/${claim.partition}@${position}#${claim.epoch}`),
  );
}
