import { KpipeError } from '../../errors.ts';
import { noDiskHistory, rememberDisks } from '../../health/disk-forecast.ts';
import type { ThroughputLook } from '../../offsets/throughput.ts';
import { lookAtThroughput } from '../../offsets/watch-throughput.ts';
import { partitionKey } from '../../ports.ts';
import { wait } from '../../runtime/backoff.ts';
import type { TopicSpec } from '../spec.ts';
import { diskRoomOf } from './disk-room.ts';
import type { TopicFacts } from './measure.ts';
import type { DiskRoom } from './retention.ts';
import { seeFacts, seeHistories, seeMembers, type Members } from './see.ts';
import { groupsOf, type TuneSources, type WatchedGroup } from './sources.ts';

/** What was seen while `kpipe topics tune` watched. */
export interface TuneObservation {
  readonly clusterId: string;
  readonly observedAtMs: number;
  /** That are up. */
  readonly brokers: number;
  readonly looks: readonly ThroughputLook[];
  readonly facts: readonly TopicFacts[];
  /** Declared and not there. */
  readonly missing: readonly string[];
  readonly disk: DiskRoom | null;
  /** It was to take longer. */
  readonly endedEarly: boolean;
}

export interface WatchProgress {
  readonly topics: number;
  readonly looks: number;
  readonly leftMs: number;
}

export interface TuneWatchOptions {
  readonly forMs: number;
  readonly now: () => number;
  readonly onProgress: (progress: WatchProgress) => void;
}

const longestIntervalMs = 2000;
const shortestIntervalMs = 250;
const tickMs = 1000;
/** Below that a look shows no rate worth the name. */
const leastMs = 1000;
const usualUsedPercent = 85;

/**
 * Watches the topics for a while. The signal ends it early, with what was seen until then.
 * @throws KPIPE_INTERRUPTED when that is nothing; KPIPE_KAFKA_…
 */
export async function watchTopics(
  sources: TuneSources,
  specs: readonly TopicSpec[],
  options: TuneWatchOptions,
  signal: AbortSignal,
): Promise<TuneObservation> {
  const { admin, observer, config } = sources;
  const { now } = options;
  const { clusterId, brokers } = await admin.describeCluster();
  const described = await admin.describeTopics(specs.map(({ name }) => name));
  const names = described.map(({ name }) => name);
  const groups = groupsOf(config, specs, names);
  const histories = await seeHistories(admin, described, now());
  const first = await observer.observe();
  const membersBefore = await seeMembers(admin, groups);
  signal.throwIfAborted();
  const looks = names.length === 0 ? [] : await keepLooking(sources, { names, groups }, options, signal);
  const watchedMs = (looks.at(-1)?.atMs ?? 0) - (looks[0]?.atMs ?? 0);
  if (signal.aborted && watchedMs < leastMs) {
    signal.throwIfAborted();
  }
  const last = await observer.observe();
  const disks = [first, last].reduce(rememberDisks, noDiskHistory);
  const members = bothTimes(membersBefore, await seeMembers(admin, groups));
  return {
    clusterId,
    observedAtMs: now(),
    brokers: brokers.length,
    looks,
    facts: await seeFacts(sources, described, { looks, histories, members }),
    missing: specs.map(({ name }) => name).filter((name) => !names.includes(name)),
    disk: diskRoomOf(last, disks, config.alerts.disk?.usedPercent ?? usualUsedPercent),
    endedEarly: signal.aborted,
  };
}

interface Watched {
  readonly names: readonly string[];
  readonly groups: readonly WatchedGroup[];
}

async function keepLooking(
  sources: TuneSources,
  watched: Watched,
  { forMs, now, onProgress }: TuneWatchOptions,
  signal: AbortSignal,
): Promise<readonly ThroughputLook[]> {
  const looks = [await look(sources, watched, now)];
  const untilMs = (looks[0]?.atMs ?? 0) + forMs;
  const intervalMs = Math.min(longestIntervalMs, Math.max(shortestIntervalMs, forMs / 10));
  const tell = (): void =>
    onProgress({ topics: watched.names.length, looks: looks.length, leftMs: Math.max(0, untilMs - now()) });
  tell();
  for (let dueMs = now() + intervalMs; now() < untilMs && !signal.aborted; dueMs = now() + intervalMs) {
    const nextMs = Math.min(dueMs, untilMs);
    while (now() < nextMs && !signal.aborted) {
      await wait(Math.max(1, Math.min(tickMs, nextMs - now())), signal);
      tell();
    }
    // The last one must be: without it the watch would end where the one before was.
    const isLast = nextMs === untilMs || signal.aborted;
    const seen = await look(sources, watched, now).catch((error: unknown) => ({ error }));
    if (!('error' in seen)) {
      looks.push(seen);
    } else if (isLast || !isAway(seen.error)) {
      throw seen.error;
    }
  }
  return looks;
}

function isAway(error: unknown): boolean {
  return error instanceof KpipeError && error.code === 'KPIPE_KAFKA_UNREACHABLE';
}

/** Groups' commits, or PostgreSQL's positions where the sink is there and answers: the group's are a mirror of those. */
async function look(
  { admin, positions }: TuneSources,
  { names, groups }: Watched,
  now: () => number,
): Promise<ThroughputLook> {
  const [stored, seen] = await Promise.all([
    Promise.all(
      groups.map(async ({ role, group, topic, inPostgres }) => {
        const answer = inPostgres && positions !== null ? await positions.positions(role) : null;
        return answer?.kind === 'known'
          ? answer.positions.filter((each) => each.topic === topic).map((each) => ({ ...each, group }))
          : [];
      }),
    ),
    lookAtThroughput(
      admin,
      names,
      groups.map(({ group }) => group),
      now,
    ),
  ]);
  const own = new Map(stored.flat().map((each) => [`${each.group}/${partitionKey(each)}`, each.position]));
  return {
    ...seen,
    groups: seen.groups.map((each) => ({
      ...each,
      position: own.get(`${each.group}/${partitionKey(each)}`) ?? each.position,
    })),
  };
}

/** A group that grew or shrank meanwhile has no rate a consumer. */
function bothTimes(before: Members, after: Members): Members {
  return new Map([...after].map(([group, count]) => [group, before.get(group) === count ? count : null]));
}
