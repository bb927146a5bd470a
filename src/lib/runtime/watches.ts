import { KpipeError } from '../errors.ts';
import { partitionKey, type ClusterAdmin, type TopicPartition } from '../ports.ts';
import { wait } from './backoff.ts';
import type { Role } from './role.ts';
import type { Claim, OffsetRow, Sink } from './sink.ts';

/** A worker as the watches see it. */
export interface WatchedWorker {
  readonly claim: Claim;
  readonly writtenPosition: bigint;
  /** Nothing is in hand. */
  readonly isIdle: boolean;
  readonly isClosed: boolean;
}

/** A run as the watches see it. */
export interface WatchedRun<Worker extends WatchedWorker = WatchedWorker> {
  readonly workers: () => readonly Worker[];
  /** How many partitions the group gave; null before it gave any answer. */
  readonly assigned: () => number | null;
  readonly isEnding: () => boolean;
  /** Since something moved: a fetch, a write, a pause. */
  readonly stillMs: () => number;
}

/** How far a partition's log reaches beyond what is written. */
export interface PartitionBacklog extends TopicPartition {
  readonly position: bigint;
  readonly lagRecords: number;
}

/** What stands beside a run and looks at it, and what it does about what it sees. */
export interface WatchOptions<Row extends OffsetRow, Worker extends WatchedWorker> extends WatchedRun<Worker> {
  readonly admin: ClusterAdmin;
  readonly role: Pick<Role<Row>, 'name' | 'topic' | 'sink'>;
  readonly signal: AbortSignal;
  /** null: the run goes on when everything is written. */
  readonly onDrained: (() => void) | null;
  readonly onStalled: (stall: KpipeError) => void;
  /** The store has it no longer where it stands. */
  readonly onStrayed: (worker: Worker) => Promise<void>;
}

export interface RunWatches {
  readonly stop: () => void;
  /** Resolves when nothing waits for the drained state any more. */
  readonly ended: Promise<void>;
}

const drainCheckMs = 250;
const stallCheckMs = 10_000;
const storeCheckMs = 5000;
/** A group gives a member that comes (back) nothing at first, when others have to let go: so many looks must agree. */
const looksWithoutPartitions = 20;
/** A consumer that cannot go on must end; it is never alive and idle. */
const stalledAfterMs = 60_000;

/** Asks where the logs end. A partition of which Kafka does not say is left out. @throws KPIPE_KAFKA_UNREACHABLE */
export async function backlogOf(
  admin: ClusterAdmin,
  workers: readonly WatchedWorker[],
): Promise<readonly PartitionBacklog[]> {
  const partitions = workers.map(({ claim: { topic, partition } }) => ({ topic, partition }));
  const ends = partitions.length === 0 ? [] : await admin.listOffsets(partitions, 'latest');
  const endOf = new Map(ends.map((end) => [partitionKey(end), end.offset]));
  return workers.flatMap(({ claim: { topic, partition }, writtenPosition: position }) => {
    const end = endOf.get(partitionKey({ topic, partition })) ?? null;
    return end === null
      ? []
      : [{ topic, partition, position, lagRecords: end > position ? Number(end - position) : 0 }];
  });
}

/** Watches a run for being drained, for standing still, and for a store that was set back under it. */
export function startWatches<Row extends OffsetRow, Worker extends WatchedWorker>(
  options: WatchOptions<Row, Worker>,
): RunWatches {
  const { admin, role, signal, onDrained, onStalled, onStrayed } = options;
  const endIfStalled = async (): Promise<void> => {
    const stall = await stallOf(options, admin, { role: role.name, topic: role.topic });
    if (stall !== null) {
      onStalled(stall);
    }
  };
  const followStore = async (): Promise<void> => {
    const strayed = await strayedWorkers(options.workers, role.sink);
    for (const worker of options.isEnding() ? [] : strayed) {
      await onStrayed(worker);
    }
  };
  const timers = [
    setInterval(() => void endIfStalled(), stallCheckMs),
    setInterval(() => void followStore(), storeCheckMs),
  ];
  return {
    stop: () => timers.forEach(clearInterval),
    ended: onDrained === null ? Promise.resolve() : untilDrained(options, admin, signal).then(onDrained),
  };
}

/** Resolves when every partition that this member holds is written up to the log's end, or when the run ends. */
export async function untilDrained(
  run: WatchedRun,
  admin: ClusterAdmin,
  signal: AbortSignal,
  checkMs = drainCheckMs,
): Promise<void> {
  let without = 0;
  while (!run.isEnding() && !signal.aborted) {
    await wait(checkMs, signal);
    const workers = run.workers();
    const drained = await isDrained(run, workers, admin);
    without = drained && workers.length === 0 ? without + 1 : 0;
    if (run.isEnding() || (drained && (workers.length > 0 || without >= looksWithoutPartitions))) {
      return;
    }
  }
}

async function isDrained(run: WatchedRun, workers: readonly WatchedWorker[], admin: ClusterAdmin): Promise<boolean> {
  if (run.assigned() === null || workers.length !== run.assigned() || !workers.every((worker) => worker.isIdle)) {
    return false;
  }
  try {
    const backlog = await backlogOf(admin, workers);
    // An end that Kafka does not name is not known, and so not reached.
    return backlog.length === workers.length && backlog.every(({ lagRecords }) => lagRecords === 0);
  } catch {
    return false;
  }
}

/**
 * Idle workers that the store no longer has where they stand. What moves while it is asked is left to the next look, and a
 * store that does not answer, to the writes.
 */
export async function strayedWorkers<Row extends OffsetRow, Worker extends WatchedWorker>(
  workers: () => readonly Worker[],
  sink: Sink<Row>,
): Promise<readonly Worker[]> {
  const stands = (worker: Worker): boolean => worker.isIdle && !worker.isClosed;
  const standings = workers()
    .filter(stands)
    .map((worker) => ({ worker, claim: worker.claim, position: worker.writtenPosition }));
  const strayed = standings.length === 0 ? [] : await sink.strayed?.(standings).catch(() => []);
  const present = new Set(workers());
  return (strayed ?? []).flatMap(({ worker, position }) =>
    present.has(worker) && stands(worker) && worker.writtenPosition === position ? [worker] : [],
  );
}

/** The failure of a run that reads nothing while records wait, or that no group has answered; else null. */
export async function stallOf(
  run: WatchedRun,
  admin: ClusterAdmin,
  where: { readonly role: string; readonly topic: string },
): Promise<KpipeError | null> {
  const stillMs = run.stillMs();
  const workers = run.workers();
  if (run.isEnding() || stillMs < stalledAfterMs || !workers.every((worker) => worker.isIdle)) {
    return null;
  }
  const backlog = await backlogOf(admin, workers).catch(() => []);
  if (run.assigned() !== null && backlog.every(({ lagRecords }) => lagRecords === 0)) {
    return null;
  }
  const still = `role ${where.role} has read nothing for ${Math.round(stillMs / 1000)} s while records wait`;
  return new KpipeError('KPIPE_NO_PROGRESS', still, {
    where: { topic: where.topic },
    next: 'start it again (a supervisor does); `kpipe doctor` and `kpipe brokers` show what is wrong with the cluster',
  });
}
