import type { Config } from '../config/load.ts';
import type { RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import type { ClusterAdmin } from '../ports.ts';
import { createPositionReader } from '../postgres/positions.ts';
import { shopTopics, type ShopTopic } from '../shop/types.ts';
import { awaitArrival, type Arrival } from './arrival.ts';
import { CommitTrail } from './commit-trail.ts';
import { DeadLetterCollector } from './dead-letters.ts';
import { compareTopic, type TopicFindings } from './findings.ts';
import { checkOrders, needsOrderId, type OrdersFindings } from './orders.ts';
import { prepare } from './prepare.ts';
import { RoleProcesses } from './role-processes.ts';
import { runShop, type ShopRun } from './shop-run.ts';
import { begin, type DemoOptions } from './steps.ts';
import { rowsOf } from './stored-rows.ts';

export interface DemoTopic {
  readonly topic: string;
  readonly role: RoleName;
  readonly acked: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLetters: number;
  readonly deadLettersByReason: Readonly<Record<string, number>>;
  readonly lagRecords: number;
  /** From Kafka's timestamp until the row was there; for BigQuery from the ack until the role's commit. null: no row. */
  readonly latencyP50Ms: number | null;
  readonly latencyP99Ms: number | null;
}

export interface DemoReport {
  readonly ok: boolean;
  readonly topics: readonly DemoTopic[];
  /** From the first record sent until the last one was stored. */
  readonly seconds: number;
  readonly seed: number;
  readonly run: string;
  /** The table that projects the orders, held against their last events; null where kpipe.yaml has none such. */
  readonly orders: { readonly table: string; readonly rows: number; readonly deleted: number } | null;
  /** In plain words; empty when every acked record has exactly the one effect that it must have. */
  readonly problems: readonly string[];
  /** The configuration that describes the servers. */
  readonly configPath: string;
}

interface Demo {
  readonly config: Config;
  readonly admin: ClusterAdmin;
  readonly topics: readonly ShopTopic[];
  readonly run: string;
  readonly startedAtMs: number;
  readonly options: DemoOptions;
}

const patienceMs = 60_000;
const hurriedStopMs = 10_000;

/**
 * The whole pipeline at work: topics, schema, the three roles, three kinds of producer; then everything that was acked is
 * looked for in the stores. The servers must run.
 * @throws KpipeError what keeps it from running to its end; what it finds at the end is in the report
 */
export async function runDemo(config: Config, options: DemoOptions): Promise<DemoReport> {
  const topics = shopTopics.filter((topic) => config.roles[topic] !== undefined);
  if (topics.length === 0) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} has no roles`, {
      next: 'kpipe init writes a file that has them',
    });
  }
  return withKafkaAdmin(config.kafka, async (admin) => {
    await prepare(config, admin, options);
    const startedAtMs = Date.now();
    const demo = { config, admin, topics, startedAtMs, options, run: startedAtMs.toString(36) };
    const roles = new RoleProcesses(config, topics, options.commandLine, options.logDirectory);
    try {
      return await runWithRoles(demo, roles);
    } finally {
      // Where it has come to its end they have stopped already.
      await roles.stop(hurriedStopMs);
    }
  });
}

async function runWithRoles(demo: Demo, roles: RoleProcesses): Promise<DemoReport> {
  const { config, admin, topics, run, options } = demo;
  const starting = begin(options, 'roles');
  await roles.ready(admin, config, options.signal);
  starting.done(`${topics.join(', ')}: consuming`);
  const deadLetters = await DeadLetterCollector.open(config, admin, topics, run);
  const { analytics } = config.roles;
  const trail = analytics === undefined ? null : new CommitTrail(admin, analytics.group, analytics.topic);
  try {
    const publishedAt = Date.now();
    const shop = await publish(demo, roles);
    const arrival = await arrive(demo, shop, roles);
    const seconds = (Date.now() - publishedAt) / 1000;
    const endings = await roles.stop();
    const findings = await check(demo, shop, deadLetters, trail);
    return report(demo, { shop, arrival, seconds, endings, ...findings });
  } finally {
    await Promise.all([deadLetters.close(), trail?.close()]);
  }
}

async function publish({ config, topics, run, startedAtMs, options }: Demo, roles: RoleProcesses): Promise<ShopRun> {
  const { count, ratePerSec, seed, brokenShare } = options;
  const step = begin(options, 'publish');
  const shop = await runShop(config, {
    count,
    ratePerSec,
    seed,
    brokenShare,
    signal: AbortSignal.any([options.signal, roles.failure]),
    run,
    nowMs: startedAtMs,
    topics: Object.fromEntries(topics.map((topic) => [topic, config.roles[topic]?.topic])),
    ordersProjected: needsOrderId(config),
    onProgress: (done) => step.moved(done, count),
  });
  step.done(`${ackedCount(shop)} records acked by all in-sync replicas`);
  return shop;
}

async function arrive({ config, admin, topics, options }: Demo, shop: ShopRun, roles: RoleProcesses): Promise<Arrival> {
  const step = begin(options, 'arrive');
  const total = ackedCount(shop);
  const positions = config.postgres === undefined ? null : createPositionReader(config.postgres);
  try {
    const arrival = await awaitArrival(config, topics, {
      admin,
      positions,
      patienceMs,
      signal: AbortSignal.any([options.signal, roles.failure]),
      onProgress: (left) => step.moved(Math.max(0, total - left), total),
    });
    step.done(
      arrival.complete ? 'every position is at the end of its topic' : `nothing has moved for ${patienceMs / 1000} s`,
    );
    return arrival;
  } finally {
    await positions?.close();
  }
}

interface Findings {
  readonly findings: ReadonlyMap<ShopTopic, TopicFindings>;
  readonly deadLettersRead: boolean;
  readonly orders: OrdersFindings | null;
}

async function check(
  { config, topics, options }: Demo,
  shop: ShopRun,
  deadLetters: DeadLetterCollector,
  trail: CommitTrail | null,
): Promise<Findings> {
  const step = begin(options, 'check');
  const deadLettersRead = await deadLetters.readToEnd(options.signal);
  const findings = new Map<ShopTopic, TopicFindings>();
  for (const topic of topics) {
    const acked = shop.acked.get(topic) ?? [];
    const name = config.roles[topic]?.topic ?? topic;
    findings.set(topic, compareTopic(name, acked, await rowsOf(config, topic, acked, trail), deadLetters.of(name)));
  }
  const orders = await checkOrders(config, shop.acked.get('events') ?? []);
  step.done('each row and dead letter held against what was acked');
  return { findings, deadLettersRead, orders };
}

interface Outcome extends Findings {
  readonly shop: ShopRun;
  readonly arrival: Arrival;
  readonly seconds: number;
  readonly endings: readonly string[];
}

function report({ config, topics, run, options }: Demo, outcome: Outcome): DemoReport {
  const { shop, arrival, seconds, endings, findings, deadLettersRead, orders } = outcome;
  const rows = topics.map((role): DemoTopic => {
    const { problems: _, ...found } = findings.get(role) ?? compareTopic(role, [], [], []);
    return {
      topic: config.roles[role]?.topic ?? role,
      role,
      acked: shop.acked.get(role)?.length ?? 0,
      ...found,
      lagRecords: arrival.lagRecords.get(role) ?? 0,
    };
  });
  const problems = [
    ...shop.problems,
    ...rows.flatMap(({ topic, acked }) => (acked === 0 ? [`${topic}: nothing was acked`] : [])),
    ...rows.flatMap(({ topic, lagRecords }) =>
      lagRecords === 0 ? [] : [`${topic}: ${lagRecords} records were not read`],
    ),
    ...(deadLettersRead ? [] : ['the dead-letter topics could not be read to their ends']),
    ...[...findings.values()].flatMap((found) => found.problems),
    ...(orders?.problems ?? []),
    ...endings,
  ];
  return {
    ok: problems.length === 0,
    topics: rows,
    seconds,
    seed: options.seed,
    orders: orders === null ? null : { table: orders.table, rows: orders.rows, deleted: orders.deleted },
    run,
    problems,
    configPath: config.file,
  };
}

function ackedCount({ acked }: ShopRun): number {
  return [...acked.values()].reduce((sum, records) => sum + records.length, 0);
}
