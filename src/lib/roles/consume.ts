import type { Config } from '../config/load.ts';
import type { RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { openSource } from '../kafka/open-source.ts';
import { openPublisher } from '../kafka/publisher.ts';
import { exposeRun, type MetricsAddress } from '../metrics/observed-run.ts';
import type { ClusterAdmin } from '../ports.ts';
import { RunCounts } from '../runtime/counts.ts';
import type { RunObserver } from '../runtime/observer.ts';
import { wait } from '../runtime/backoff.ts';
import type { Role } from '../runtime/role.ts';
import type { OffsetRow } from '../runtime/sink.ts';
import type { RunResult } from '../runtime/run-options.ts';
import { RoleRun } from '../runtime/run-role.ts';
import { PauseWatch } from '../runtime/step-aside.ts';
import { keepYoungGenerationSmall } from '../runtime/young-generation.ts';
import { openAnalyticsRole } from './analytics.ts';
import { required, type RoleEnvironment } from './environment.ts';
import { openEventsRole } from './events.ts';
import { openLogsRole } from './logs.ts';
import { runSteppingAside } from './stepping-aside.ts';
import { RunReports, type ConsumeReport } from './reports.ts';

export interface ConsumeOptions {
  readonly untilDrained: boolean;
  readonly forMs: number | null;
  /** Partitions without a position begin where the log does, whatever the role's `start` says. */
  readonly fromStart?: boolean;
  readonly concurrency: number;
  readonly skipLost: boolean;
  readonly acceptRecreated: boolean;
  /** Static membership of the group; default: `kafka.group.instanceId`. */
  readonly instanceId?: string | undefined;
  /** Where /livez, /readyz and /metrics are served; null: nowhere. */
  readonly metrics: MetricsAddress | null;
  readonly reportEveryMs: number;
  readonly onReport: (report: ConsumeReport) => void;
  /** A line about something that is not as it should be, or is again. */
  readonly notice: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Runs one role in this process until it is drained, told to stop or cannot go on. Several processes share the group.
 * @throws KPIPE_TOPIC_MISSING, KPIPE_SCHEMA_MISSING, KPIPE_…_UNREACHABLE within 10 s, and what `RoleRun` ends with
 */
export async function consumeRole(file: Config, name: RoleName, options: ConsumeOptions): Promise<RunResult> {
  const config = options.fromStart === true ? fromStart(file, name) : file;
  const settings = required(config.roles[name], `roles.${name}`, name);
  keepYoungGenerationSmall();
  const admin = await openKafkaAdmin(config.kafka);
  try {
    const topicId = await requireTopics(admin, name, [settings.topic, settings.deadLetters], options.signal);
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

function fromStart(config: Config, name: RoleName): Config {
  const role = config.roles[name];
  return role === undefined
    ? config
    : { ...config, roles: { ...config.roles, [name]: { ...role, start: 'earliest' } } };
}

async function runOpened<Row extends OffsetRow>(
  role: Role<Row>,
  { config, admin, topicId, now, random }: RoleEnvironment,
  group: string,
  options: ConsumeOptions,
): Promise<RunResult> {
  const clientId = `${config.kafka.clientId}-${role.name}`;
  const open: (() => Promise<void>)[] = [() => role.sink.close()];
  try {
    const exposure = options.metrics === null ? null : await exposeRun(role.name, options.metrics, now);
    if (exposure !== null) {
      open.push(exposure.close);
      options.notice(`health and metrics: ${exposure.url}/livez, /readyz, /metrics`);
    }
    const publisher = await openPublisher(config.kafka, { clientId });
    open.push(() => publisher.close());
    const reports = new RunReports(role.name, now, options.notice);
    const before = { counts: new RunCounts(), startedAtMs: now() };
    return await runSteppingAside(new PauseWatch(admin, group, options.notice), options, async (signal) => {
      const source = await openSource(config.kafka, {
        topic: role.topic,
        topicId,
        group,
        clientId,
        maxBytesPerPartition: 1024 * 1024,
        maxWaitMs: 500,
        instanceId: options.instanceId ?? config.kafka.group.instanceId ?? null,
        notice: options.notice,
      });
      const run = new RoleRun(
        role,
        { source, publisher, admin },
        {
          topicId,
          untilDrained: options.untilDrained,
          forMs: options.forMs === null ? null : Math.max(0, options.forMs - (now() - before.startedAtMs)),
          concurrency: options.concurrency,
          skipLost: options.skipLost,
          signal,
          onPaused: (partition, reason) => reports.paused(partition, reason),
          observer: exposure === null ? reports : both(reports, exposure.observer),
          before,
          now,
          random,
        },
      );
      exposure?.follow(run, role.sink);
      const telling = setInterval(() => void reports.report(run).then(options.onReport), options.reportEveryMs);
      return await run.run().finally(() => clearInterval(telling));
    });
  } finally {
    await Promise.allSettled(open.map((close) => close()));
  }
}

function both(one: RunObserver, other: RunObserver): RunObserver {
  return {
    wrote: (written) => {
      one.wrote(written);
      other.wrote(written);
    },
    joined: (partitions) => {
      one.joined(partitions);
      other.joined(partitions);
    },
  };
}

/** Brokers hear of a new topic one after the other: the one that is asked may be the last. */
const newTopicMs = 3000;
const lookAgainMs = 200;

/** Answers the id of the first topic. @throws KPIPE_TOPIC_MISSING when one of them stays away */
async function requireTopics(
  admin: ClusterAdmin,
  role: string,
  names: readonly [string, string],
  signal: AbortSignal,
): Promise<string> {
  for (let waitedMs = 0; ; waitedMs += lookAgainMs) {
    const found = await admin.describeTopics(names);
    const missing = names.filter((name) => !found.some((topic) => topic.name === name));
    const topic = found.find(({ name }) => name === names[0]);
    if (missing.length === 0 && topic !== undefined) {
      return topic.id;
    }
    if (waitedMs >= newTopicMs || signal.aborted) {
      throw new KpipeError(
        'KPIPE_TOPIC_MISSING',
        `role ${role} needs the topic ${missing.join(' and ')}, which is not there`,
        { next: 'run `kpipe topics apply`' },
      );
    }
    await wait(lookAgainMs, signal);
  }
}
