import { hostname, userInfo } from 'node:os';

import type { Config } from '../config/load.ts';
import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import { openJournalLog, type JournalLog } from '../kafka/journal-log.ts';
import { RangeReader, stableRanges } from '../kafka/range-reader.ts';
import { parseOffsetPoint } from '../offsets/offset-spec.ts';
import { partitionBounds, resolvePoint } from '../offsets/resolve-offsets.ts';
import type { GroupAdmin, TopicDescription } from '../ports.ts';
import { newReplayId } from '../replay/session.ts';
import { compileWhere } from '../where/where.ts';
import { copyGroup, formatCopyEntry, readCopies, type CopyEntry } from './copy-entry.ts';
import { CopyRun, emptyResult, type CopyOptions, type CopyPlan, type CopyResult } from './copy-run.ts';
import { CopyWriter, requireOtherTopic } from './write-copy.ts';

export interface CopyRequest {
  readonly source: string;
  readonly destination: string;
  /** As offset-spec.ts has them. */
  readonly from: string;
  readonly to: string;
  readonly where: string | null;
}

const silenceMs = 60_000;

/** Copies records to another topic, each once. @throws KPIPE_USAGE, KPIPE_DECLINED, KPIPE_INTERRUPTED, KPIPE_PRODUCE_FAILED, … */
export async function copyTopic(config: Config, request: CopyRequest, options: CopyOptions): Promise<CopyResult> {
  requireOtherTopic(request.source, request.destination);
  if (request.where !== null) {
    compileWhere(request.where);
  }
  return withKafkaAdmin(config.kafka, async (admin) => {
    const topics = await requireTopics(admin, request.source, request.destination);
    const nowMs = Date.now();
    const entry: CopyEntry = {
      version: 1,
      id: newReplayId(nowMs),
      kind: 'copy',
      state: 'begun',
      source: request.source,
      destination: request.destination,
      where: request.where,
      at: new Date(nowMs).toISOString(),
      by: `${userInfo().username}@${hostname()} (pid ${process.pid})`,
      ranges: await rangesOf(admin, topics.source, request, nowMs),
    };
    const plan = planOf(entry, topics, false);
    if (plan.offsets === 0) {
      return { ...emptyResult(plan), state: 'nothing to do' };
    }
    await options.confirm(plan);
    return withJournal(config, admin, async (journal) => {
      await journal.append(entry.id, formatCopyEntry(entry));
      return carryOn({ config, admin, journal, entry, plan }, options);
    });
  });
}

/** Goes on with a copy that was interrupted. @throws KPIPE_USAGE when there is none of that id, or it is done */
export async function resumeCopy(config: Config, id: string, options: CopyOptions): Promise<CopyResult> {
  return withKafkaAdmin(config.kafka, (admin) =>
    withJournal(config, admin, async (journal) => {
      const entry = readCopies(await journal.read()).find((copy) => copy.id === id);
      if (entry === undefined || entry.state === 'done') {
        throw new KpipeError('KPIPE_USAGE', entry === undefined ? `there is no copy ${id}` : `copy ${id} is done`, {
          next: '`kpipe replay history` shows them',
        });
      }
      const plan = planOf(entry, await requireTopics(admin, entry.source, entry.destination), true);
      await options.confirm(plan);
      return carryOn({ config, admin, journal, entry, plan }, options);
    }),
  );
}

interface Copying {
  readonly config: Config;
  readonly admin: GroupAdmin;
  readonly journal: JournalLog;
  readonly entry: CopyEntry;
  readonly plan: CopyPlan;
}

async function carryOn(copying: Copying, options: CopyOptions): Promise<CopyResult> {
  const { config, admin, journal, entry, plan } = copying;
  const topics = await requireTopics(admin, entry.source, entry.destination);
  const count = plan.partitioning === 'kept' ? null : topics.destination.partitions.length;
  const writer = new CopyWriter(config.kafka, admin, entry, count, options.signal);
  const reader = new RangeReader(config.kafka, { topic: entry.source, silenceMs });
  const run = new CopyRun(entry, writer, options);
  try {
    const done = await writer.open();
    const open = entry.ranges.map(({ partition, from, to }) => ({
      topic: entry.source,
      partition,
      from: maxOf(done.get(partition) ?? from, from),
      to,
    }));
    for await (const batch of reader.read(open, options.signal)) {
      await run.take(batch);
    }
  } finally {
    await reader.close();
    await writer.close();
  }
  if (options.signal.aborted) {
    throw new KpipeError('KPIPE_INTERRUPTED', `copy ${entry.id} has stopped: ${run.copied} records are copied so far`, {
      next: `\`kpipe replay copy --resume ${entry.id}\` goes on, without a gap and without a repeat`,
    });
  }
  await journal.append(entry.id, formatCopyEntry({ ...entry, state: 'done' }));
  await admin.deleteGroup(copyGroup(entry.id)).catch(() => undefined);
  return run.result(plan);
}

async function rangesOf(
  admin: GroupAdmin,
  source: TopicDescription,
  request: CopyRequest,
  nowMs: number,
): Promise<CopyEntry['ranges']> {
  const partitions = source.partitions.map(({ partition }) => ({ topic: source.name, partition }));
  const bounds = await partitionBounds(admin, partitions);
  const from = await resolvePoint(admin, bounds, parseOffsetPoint(request.from, nowMs));
  const to = await resolvePoint(admin, bounds, parseOffsetPoint(request.to, nowMs));
  const ranges = from.map(({ topic, partition, position }, index) => ({
    topic,
    partition,
    from: position,
    to: to[index]?.position ?? position,
  }));
  const stable = await stableRanges(admin, ranges);
  return stable.map((range) => ({ partition: range.partition, from: range.from, to: maxOf(range.to, range.from) }));
}

interface Topics {
  readonly source: TopicDescription;
  readonly destination: TopicDescription;
}

async function requireTopics(admin: GroupAdmin, source: string, destination: string): Promise<Topics> {
  const found = await admin.describeTopics([source, destination]);
  const [from, to] = [source, destination].map((name) => found.find((topic) => topic.name === name));
  if (from === undefined || to === undefined) {
    const missing = from === undefined ? source : destination;
    const nearest = nearestName(
      missing,
      (await admin.listTopics()).map(({ name }) => name),
    );
    throw new KpipeError('KPIPE_USAGE', `there is no topic ${missing}`, {
      next: nearest === undefined ? '`kpipe topics list` shows what exists' : `did you mean ${nearest}?`,
    });
  }
  return { source: from, destination: to };
}

function planOf(entry: CopyEntry, { source, destination }: Topics, resumed: boolean): CopyPlan {
  return {
    id: entry.id,
    source: entry.source,
    destination: entry.destination,
    where: entry.where,
    ranges: entry.ranges,
    offsets: entry.ranges.reduce((sum, { from, to }) => sum + Number(to - from), 0),
    partitioning: source.partitions.length === destination.partitions.length ? 'kept' : 'by key',
    resumed,
  };
}

async function withJournal<Result>(
  config: Config,
  admin: GroupAdmin,
  work: (journal: JournalLog) => Promise<Result>,
): Promise<Result> {
  const journal = openJournalLog(config.kafka, admin);
  try {
    return await work(journal);
  } finally {
    await journal.close();
  }
}

function maxOf(left: bigint, right: bigint): bigint {
  return left > right ? left : right;
}
