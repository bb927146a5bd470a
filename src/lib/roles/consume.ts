import type { Config } from '../config/load.ts';
import type { RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { openPublisher } from '../kafka/publisher.ts';
import { openKafkajsSource } from '../kafka/source-kafkajs.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Totals } from '../runtime/counts.ts';
import type { Role } from '../runtime/role.ts';
import { RoleRun, type RunResult } from '../runtime/run-role.ts';
import { keepYoungGenerationSmall } from '../runtime/young-generation.ts';
import { openAnalyticsRole } from './analytics.ts';
import { required, type RoleEnvironment } from './environment.ts';
import { openEventsRole } from './events.ts';
import { openLogsRole } from './logs.ts';

export interface ConsumeOptions {
  readonly untilDrained: boolean;
  readonly forMs: number | null;
  readonly concurrency: number;
  readonly skipLost: boolean;
  readonly acceptRecreated: boolean;
  readonly reportEveryMs: number;
  readonly onReport: (report: ConsumeReport) => void;
  /** A line about something that is not as it should be, or is again. */
  readonly notice: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What a running role says of itself now and then. */
export interface ConsumeReport {
  readonly at: string;
  readonly role: string;
  readonly totals: Totals;
  /** Since the report before. */
  readonly recordsPerSec: number;
  readonly partitions: number;
  /** Why partitions wait, if any do. */
  readonly paused: string | null;
  readonly rssBytes: number;
}

/**
 * Runs one role in this process until it is drained, told to stop or cannot go on. Several processes share the group.
 * @throws KPIPE_TOPIC_MISSING, KPIPE_SCHEMA_MISSING, KPIPE_…_UNREACHABLE within 10 s, and what `RoleRun` ends with
 */
export async function consumeRole(config: Config, name: RoleName, options: ConsumeOptions): Promise<RunResult> {
  const settings = required(config.roles[name], `roles.${name}`, name);
  keepYoungGenerationSmall();
  const admin = await openKafkaAdmin(config.kafka);
  try {
    const topicId = await requireTopics(admin, name, [settings.topic, settings.deadLetters]);
    const environment: RoleEnvironment = {
      config,
      admin,
      topicId,
      concurrency: options.concurrency,
      acceptRecreated: options.acceptRecreated,
      notice: options.notice,
      now: Date.now,
      random: Math.random,
    };
    // One at a time by type: a role's rows are its own.
    switch (name) {
      case 'events':
        return await runOpened(await openEventsRole(environment), environment, settings.group, options);
      case 'logs':
        return await runOpened(await openLogsRole(environment), environment, settings.group, options);
      case 'analytics':
        return await runOpened(await openAnalyticsRole(environment), environment, settings.group, options);
    }
  } finally {
    await admin.close();
  }
}

async function runOpened<Row>(
  role: Role<Row>,
  { config, admin, now, random }: RoleEnvironment,
  group: string,
  options: ConsumeOptions,
): Promise<RunResult> {
  const clientId = `${config.kafka.clientId}-${role.name}`;
  const publisher = await openPublisher(config.kafka, { clientId });
  const paused = new Map<number, KpipeError>();
  try {
    const source = await openKafkajsSource(config.kafka, {
      topic: role.topic,
      group,
      clientId,
      maxBytesPerPartition: 1024 * 1024,
      maxWaitMs: 100,
    });
    const run = new RoleRun(
      role,
      { source, publisher, admin },
      {
        untilDrained: options.untilDrained,
        forMs: options.forMs,
        concurrency: options.concurrency,
        skipLost: options.skipLost,
        signal: options.signal,
        onPaused: (partition, reason) => tellPause(paused, partition, reason, options.notice),
        now,
        random,
      },
    );
    const reports = setInterval(() => options.onReport(report()), options.reportEveryMs);
    let before = 0;
    const report = (): ConsumeReport => {
      const result = run.result();
      const [reason] = paused.values();
      const recordsPerSec = Math.round(((result.totals.records - before) * 1000) / options.reportEveryMs);
      before = result.totals.records;
      return {
        at: new Date(now()).toISOString(),
        role: role.name,
        totals: result.totals,
        recordsPerSec,
        partitions: result.partitions.length,
        paused: reason === undefined ? null : `${reason.code} ${reason.message}`,
        rssBytes: process.memoryUsage.rss(),
      };
    };
    try {
      return await run.run();
    } finally {
      clearInterval(reports);
    }
  } finally {
    await Promise.allSettled([publisher.close(), role.sink.close()]);
  }
}

/** Says once that the role waits, and once that it goes on. */
function tellPause(
  paused: Map<number, KpipeError>,
  partition: number,
  reason: KpipeError | null,
  notice: (text: string) => void,
): void {
  const wasPaused = paused.size > 0;
  if (reason === null) {
    paused.delete(partition);
  } else {
    paused.set(partition, reason);
  }
  if (!wasPaused && reason !== null) {
    notice(`waiting: ${reason.code} ${reason.message}`);
  } else if (wasPaused && paused.size === 0) {
    notice('going on');
  }
}

/** Answers the id of the first topic. */
async function requireTopics(admin: ClusterAdmin, role: string, names: readonly [string, string]): Promise<string> {
  const found = await admin.describeTopics(names);
  const missing = names.filter((name) => !found.some((topic) => topic.name === name));
  const topic = found.find(({ name }) => name === names[0]);
  if (missing.length > 0 || topic === undefined) {
    throw new KpipeError(
      'KPIPE_TOPIC_MISSING',
      `role ${role} needs the topic ${missing.join(' and ')}, which is not there`,
      {
        next: 'run `kpipe topics apply`',
      },
    );
  }
  return topic.id;
}
