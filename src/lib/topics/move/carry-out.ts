import { setTimeout as pause } from 'node:timers/promises';

import { KpipeError, messageOf, type ErrorCode } from '../../errors.ts';
import { partitionKey, type ClusterAdmin, type ReplicaAdmin } from '../../ports.ts';
import type { AuditAct } from '../audit.ts';
import {
  largest,
  observeMoves,
  planMoves,
  refuseUnderInSync,
  type MoveRequest,
  type PlannedMove,
} from './move-plan.ts';
import { unseenByBroker } from '../visible.ts';
import { clearThrottles, hasThrottles, setThrottle, throttledReplicas } from './throttle.ts';

/** How far the copying has come. */
export interface MoveProgress {
  readonly partitionsDone: number;
  readonly partitions: number;
  readonly bytesDone: bigint;
  readonly bytes: bigint;
  /** null: nothing has been copied yet. */
  readonly leftMs: number | null;
  /** Brokers that are copied to or from and are not up. */
  readonly down: readonly number[];
}

export interface MoveOptions {
  /** null: as fast as the brokers can. */
  readonly throttleBytesPerSec: number | null;
  /** Partitions that are moved at once. */
  readonly batchSize: number;
  readonly signal: AbortSignal;
  readonly audit: (act: AuditAct) => void;
  readonly onProgress: (progress: MoveProgress) => void;
  /** Between two looks. Default 500 ms. */
  readonly pollMs?: number;
}

/** The JSON document of `kpipe topics move`. */
export interface MoveResult {
  readonly clusterId: string;
  readonly moved: readonly MovedPartition[];
  /** Not begun, or under way when it was interrupted: the brokers go on with those. */
  readonly notMoved: readonly MovedPartition[];
  /** Why it stopped before the end; null: it did not, or was interrupted. */
  readonly problem: { readonly code: ErrorCode; readonly message: string; readonly next: string | null } | null;
  readonly bytes: bigint;
  readonly tookMs: number;
  readonly throttleBytesPerSec: number | null;
  /** Throttles that are still set, and why. */
  readonly throttlesLeft: readonly string[];
}

export interface MovedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly bytes: bigint;
}

/** The cluster may be away for so long while replicas are copied. */
const awayMs = 60_000;
const visibleWithinMs = 10_000;

/**
 * Moves replicas until they are as asked for, batch by batch. It keeps nothing of its own: what is to be done is worked out
 * from the cluster, which itself remembers the moves it has accepted. Killed at any point, the same call goes on where the
 * brokers are, and takes away the throttles that were left. A replica is dropped only when its successor is in sync: the
 * brokers see to that, and partitions below min.insync.replicas are not touched.
 * @throws KPIPE_REFUSED, KPIPE_TOPIC_MISSING before anything is done; KPIPE_KAFKA_…
 */
export async function moveReplicas(
  admin: ReplicaAdmin,
  request: MoveRequest,
  options: MoveOptions,
): Promise<MoveResult> {
  const topics = request.wanted.map(({ topic }) => topic);
  const startedAt = performance.now();
  const seen = await observeMoves(admin, topics);
  const plan = planMoves(request, seen);
  refuseUnderInSync(plan.moves, seen);
  const work = new Work(admin, plan.clusterId, plan.moves, options);
  const failure = await work.run(batches(plan.moves, options.batchSize), request);
  // Unslowed, what is still under way would take all there is.
  const throttlesLeft = work.isCopying
    ? await stillSlowed(admin, topics, work.slowed)
    : await clearThrottles(admin, topics, work.slowed).catch((error: unknown) => [
        `of topics ${topics.join(', ')} and brokers ${work.slowed.join(', ')}, perhaps: ${messageOf(error)}`,
      ]);
  if (failure !== undefined && work.done.size === 0 && !work.isCopying) {
    throw failure;
  }
  const moved = plan.moves.filter((move) => work.done.has(partitionKey(move)));
  if (!work.isCopying && throttlesLeft.length === 0) {
    await shownEverywhere(admin, moved, topics);
  }
  return {
    clusterId: plan.clusterId,
    moved: moved.map(told),
    notMoved: plan.moves.filter((move) => !work.done.has(partitionKey(move))).map(told),
    problem:
      failure === undefined ? null : { code: failure.code, message: failure.message, next: failure.next ?? null },
    bytes: moved.reduce((total, { bytes }) => total + bytes, 0n),
    tookMs: Math.round(performance.now() - startedAt),
    throttleBytesPerSec: options.throttleBytesPerSec,
    throttlesLeft,
  };
}

/** Brokers hear of the end one after the other: whoever plans next shall not take what one still shows for drift. */
async function shownEverywhere(
  admin: ReplicaAdmin,
  moved: readonly PlannedMove[],
  topics: readonly string[],
): Promise<void> {
  const look = async (broker: ClusterAdmin, open: readonly PlannedMove[]): Promise<readonly PlannedMove[]> => {
    if (await hasThrottles(broker, topics)) {
      return open;
    }
    const described = new Map((await broker.describeTopics(topics)).map(({ name, partitions }) => [name, partitions]));
    return open.filter(({ topic, partition, replicas }) => {
      const found = described.get(topic)?.find((each) => each.partition === partition);
      return found?.replicas.join() !== replicas.join();
    });
  };
  // What was done was done: who is late, or away, is no failure of the move.
  await (moved.length === 0 ? undefined : unseenByBroker(admin, moved, look, visibleWithinMs).catch(() => []));
}

function told({ topic, partition, from, replicas, bytes }: PlannedMove): MovedPartition {
  return { topic, partition, from, to: replicas, bytes };
}

/** For a move that goes on without us. */
async function stillSlowed(
  admin: ReplicaAdmin,
  topics: readonly string[],
  brokers: readonly number[],
): Promise<readonly string[]> {
  const slowed = brokers.length > 0 || (await hasThrottles(admin, topics).catch(() => true));
  return slowed ? [`of topics ${topics.join(', ')} and their brokers: the brokers go on copying, slowed`] : [];
}

/** Those under way come first and together: they run already. */
function batches(moves: readonly PlannedMove[], size: number): readonly (readonly PlannedMove[])[] {
  const running = moves.filter(({ underWay }) => underWay);
  const waiting = moves.filter(({ underWay }) => !underWay);
  const cut = Array.from({ length: Math.ceil(waiting.length / size) }, (_, index) =>
    waiting.slice(index * size, (index + 1) * size),
  );
  return [...(running.length === 0 ? [] : [running]), ...cut];
}

class Work {
  readonly done = new Set<string>();
  /** Brokers that have a throttle of this move. */
  slowed: readonly number[] = [];
  /** Something of this move is under way. */
  isCopying = false;
  readonly #admin: ReplicaAdmin;
  readonly #clusterId: string;
  readonly #moves: readonly PlannedMove[];
  readonly #options: MoveOptions;
  readonly #startedAt = performance.now();
  #bytesAtStart: bigint | undefined;

  constructor(admin: ReplicaAdmin, clusterId: string, moves: readonly PlannedMove[], options: MoveOptions) {
    this.#admin = admin;
    this.#clusterId = clusterId;
    this.#moves = moves;
    this.#options = options;
  }

  /** Answers what stopped it; undefined: nothing, or the signal. */
  async run(all: readonly (readonly PlannedMove[])[], request: MoveRequest): Promise<KpipeError | undefined> {
    try {
      for (const batch of all) {
        if (this.#options.signal.aborted) {
          return undefined;
        }
        await this.begin(batch, request);
        await this.settle(batch);
      }
      return undefined;
    } catch (error) {
      return error instanceof KpipeError ? error : new KpipeError('KPIPE_INTERNAL', messageOf(error), { cause: error });
    }
  }

  /** Sets the throttle, then hands the batch to the controller. */
  async begin(batch: readonly PlannedMove[], request: MoveRequest): Promise<void> {
    const names = request.wanted.map(({ topic }) => topic);
    refuseUnderInSync(batch, await observeMoves(this.#admin, names));
    const { throttleBytesPerSec: rate, audit } = this.#options;
    this.isCopying = batch.some(({ underWay }) => underWay);
    const { brokers } = throttledReplicas(batch);
    if (rate !== null && brokers.length > 0) {
      audit({ clusterId: this.#clusterId, act: 'throttle', bytesPerSec: rate, brokers });
      this.slowed = [...new Set([...this.slowed, ...brokers])];
      await setThrottle(this.#admin, batch, rate);
    }
    const fresh = batch.filter(({ underWay }) => !underWay);
    for (const { topic, partition, from, replicas } of fresh) {
      audit({ clusterId: this.#clusterId, act: 'reassign', topic, partition, from, to: replicas });
    }
    if (fresh.length > 0) {
      this.isCopying = true;
      await this.#admin.reassign(fresh.map(({ topic, partition, replicas }) => ({ topic, partition, replicas })));
    }
  }

  /** Waits until the brokers show the batch where it should be, or the signal. */
  async settle(batch: readonly PlannedMove[]): Promise<void> {
    const { signal, pollMs = 500 } = this.#options;
    let seenAt = performance.now();
    while (!signal.aborted) {
      try {
        const open = await this.#look(batch);
        seenAt = performance.now();
        if (open.length === 0) {
          this.isCopying = false;
          return;
        }
      } catch (error) {
        if (
          !(error instanceof KpipeError) ||
          error.code !== 'KPIPE_KAFKA_UNREACHABLE' ||
          performance.now() - seenAt > awayMs
        ) {
          throw error;
        }
      }
      await pause(pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(batch: readonly PlannedMove[]): Promise<readonly PlannedMove[]> {
    const names = [...new Set(this.#moves.map(({ topic }) => topic))];
    const [reassignments, described, sizes, cluster] = await Promise.all([
      this.#admin.reassignments(),
      this.#admin.describeTopics(names),
      this.#admin.replicaSizes(names),
      this.#admin.describeCluster(),
    ]);
    const running = new Set(reassignments.map(partitionKey));
    const open = batch.filter((move) => {
      const found = described.find(({ name }) => name === move.topic)?.partitions[move.partition];
      const isThere = found !== undefined && found.replicas.join() === move.replicas.join();
      return running.has(partitionKey(move)) || !isThere;
    });
    for (const move of batch.filter((each) => !open.includes(each))) {
      this.done.add(partitionKey(move));
    }
    const up = cluster.brokers.map(({ id }) => id);
    const taking = new Set(open.flatMap(({ from, replicas }) => [...from, ...replicas]));
    this.#tell(
      sizes,
      [...taking].filter((id) => !up.includes(id)),
    );
    return open;
  }

  #tell(sizes: ReadonlyMap<string, ReadonlyMap<number, bigint>>, down: readonly number[]): void {
    const copied = this.#moves.map((move) => {
      const replicas = sizes.get(partitionKey(move));
      const whole = largest(replicas);
      const adding = move.replicas.filter((id) => !move.from.includes(id));
      const bytesDone = adding.reduce((total, id) => total + (replicas?.get(id) ?? 0n), 0n);
      return { bytes: whole * BigInt(adding.length), bytesDone };
    });
    const bytes = copied.reduce((total, each) => total + each.bytes, 0n);
    const bytesDone = copied.reduce((total, each) => total + each.bytesDone, 0n);
    this.#bytesAtStart ??= bytesDone;
    const perMs = Number(bytesDone - this.#bytesAtStart) / Math.max(1, performance.now() - this.#startedAt);
    this.#options.onProgress({
      partitionsDone: this.done.size,
      partitions: this.#moves.length,
      bytesDone,
      bytes,
      leftMs: perMs > 0 ? Math.round(Number(bytes - bytesDone) / perMs) : null,
      down,
    });
  }
}
