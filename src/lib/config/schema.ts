import { z } from 'zod';

import { backups } from './backup-schema.ts';
import { bytesPerSec, count, durationMs, identifier, sizeBytes } from './values.ts';
import { warehouseColumns } from './warehouse-columns.ts';

/**
 * The shape of kpipe.yaml. Durations become milliseconds, sizes bytes and rates bytes a second, with the unit in the
 * name of the type; connection URLs and passwords stay text here and become `Secret` in load.ts. Longer than other files:
 * it is the whole contract of one file, and is read from top to bottom beside it.
 */
const tableName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$/,
    'not a table name with its schema, such as public.orders',
  );
export const topicNamePattern = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
export const topicNameRule = 'letters, digits, ".", "_" and "-", at most 249';
const topicName = z.string().regex(topicNamePattern, `not a topic name: ${topicNameRule}`);
/** `order.*`, `*` or an exact type. */
const typePattern = z.string().min(1).max(512);
/** The path of a value in a record: `data.orderId`, `time`, `subject`. */
const recordPath = z
  .string()
  .regex(
    /^(?:data(?:\.[^.]+)*|id|source|type|subject|time)$/,
    'not a path: data.NAME…, or one of id, source, type, subject, time',
  );

const partitions = z.union([
  count.transform((value) => ({ count: value })),
  z.strictObject({ count }),
  z.strictObject({ basis: z.literal('consumers'), consumers: count }),
  z.strictObject({ basis: z.literal('throughput'), target: bytesPerSec, perPartition: bytesPerSec }),
  z.strictObject({ basis: z.literal('sink'), count }),
]);

const topic = z.strictObject({
  partitions,
  replicationFactor: count.max(32).default(3),
  /** racks: each partition's replicas spread over the brokers' racks, as evenly as can be. */
  placement: z.enum(['any', 'racks']).optional(),
  retention: z.union([z.literal('unlimited'), durationMs]).optional(),
  config: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).default({}),
});

export const columnTypes = [
  'text',
  'bigint',
  'integer',
  'numeric',
  'double precision',
  'boolean',
  'timestamptz',
  'date',
  'uuid',
  'jsonb',
] as const;

const projectedColumn = z.strictObject({ from: recordPath, type: z.enum(columnTypes) });
/** Equal numerics (1.0, 1.00) and equal documents have several texts: a batch could not tell that they are one row. */
const keyColumn = z.strictObject({
  from: recordPath,
  type: z.enum(columnTypes).exclude(['numeric', 'jsonb']),
});

const projection = z
  .strictObject({
    match: z.strictObject({ type: typePattern, source: z.string().optional() }),
    table: tableName,
    key: z.record(identifier, keyColumn).refine((key) => Object.keys(key).length > 0, 'needs at least one column'),
    columns: z.record(identifier, projectedColumn).default({}),
    deleteOn: z.array(typePattern).default([]),
  })
  .superRefine((value, context) => {
    for (const name of Object.keys(value.columns)) {
      if (name in value.key) {
        context.addIssue({ code: 'custom', path: ['columns', name], message: `${name} is a key column already` });
      }
    }
    for (const name of [...Object.keys(value.key), ...Object.keys(value.columns)]) {
      if (name.startsWith('kpipe_')) {
        context.addIssue({
          code: 'custom',
          path: ['columns', name],
          message: 'names that begin with kpipe_ are reserved',
        });
      }
    }
  });

const batch = (defaults: { maxRows: number; maxBytes: number; maxWait: number }) =>
  z
    .strictObject({
      maxRows: count.max(1_000_000).default(defaults.maxRows),
      maxBytes: sizeBytes.default(defaults.maxBytes),
      maxWait: durationMs.default(defaults.maxWait),
    })
    .default(defaults);

const limits = z
  .strictObject({
    /** A record's value, after decompression. */
    maxValueBytes: sizeBytes.default(8_000_000),
    maxHeaders: count.default(1000),
    maxDepth: count.default(5000),
  })
  .prefault({});

const roleCommon = {
  topic: topicName,
  group: z.string().min(1).max(255),
  deadLetters: topicName,
  start: z.enum(['earliest', 'latest']).default('earliest'),
  limits,
  deadLetterBreaker: z
    .strictObject({ share: z.number().gt(0).max(1).default(0.5), of: count.default(1000) })
    .prefault({}),
  drainDeadline: durationMs.default(30_000),
} as const;

const eventsRole = z.strictObject({
  ...roleCommon,
  sink: z.literal('postgres').default('postgres'),
  defaultSource: z.string().min(1).max(512).default('kpipe'),
  batch: batch({ maxRows: 5000, maxBytes: 8_000_000, maxWait: 200 }),
  projections: z.array(projection).default([]),
  cache: z.strictObject({ entities: z.array(identifier).default([]), ttl: durationMs.default(300_000) }).optional(),
});

const logsRole = z.strictObject({
  ...roleCommon,
  sink: z.literal('postgres').default('postgres'),
  batch: batch({ maxRows: 5000, maxBytes: 8_000_000, maxWait: 200 }),
  retention: durationMs.default(30 * 86_400_000),
});

const analyticsRole = z.strictObject({
  ...roleCommon,
  sink: z.literal('bigquery').default('bigquery'),
  defaultSource: z.string().min(1).max(512).default('kpipe'),
  batch: batch({ maxRows: 50_000, maxBytes: 8_000_000, maxWait: 5000 }),
});

/** A URL that may hold references; checked when it is used, since a reference is resolved only then. */
const connectionUrl = (schemes: readonly string[]) =>
  z.string().refine((text) => schemes.some((scheme) => text.startsWith(`${scheme}://`)) || text.startsWith('${'), {
    message: `not a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
  });
const postgresUrl = connectionUrl(['postgres', 'postgresql']);

const kafka = z
  .strictObject({
    brokers: z
      .union([z.array(z.string()), z.string().transform((text) => text.split(','))])
      .transform((brokers) => brokers.flatMap((broker) => broker.split(',')).map((broker) => broker.trim()))
      .pipe(
        z
          .array(z.string().regex(/^(?:\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}$/, 'not host:port'))
          .min(1, 'needs at least one host:port'),
      ),
    clientId: z.string().min(1).max(200).default('kpipe'),
    /** There is one source (docs/adr/0006-source.md); a file that names it, or the one before, is answered. */
    source: z
      .string()
      .refine(
        (name) => name === 'cooperative',
        'the only source is cooperative: kafkajs let records of aborted transactions through',
      )
      .default('cooperative'),
    connectTimeout: durationMs.default(5000),
    /** How long the group waits for a member that fell silent; the brokers' own bounds apply. */
    sessionTimeout: durationMs.default(10_000),
    group: z
      .strictObject({
        /** classic: KIP-429, cooperative. consumer: KIP-848. auto: as the group's members do, else what the brokers speak. */
        protocol: z.enum(['auto', 'classic', 'consumer']).default('auto'),
        /** Static membership (KIP-345): one of its own for each process of a role. */
        // Brokers want of it what they want of a topic's name.
        instanceId: z.string().regex(topicNamePattern, `not an instance id: ${topicNameRule}`).optional(),
      })
      .prefault({}),
    /** Where `kpipe replay` writes down what it does to positions. */
    journal: topicName.default('kpipe.journal'),
    tls: z
      .union([
        z.literal(true).transform(() => ({})),
        z.strictObject({
          ca: z.string().optional(),
          cert: z.string().optional(),
          key: z.string().optional(),
          insecure: z.boolean().optional(),
        }),
      ])
      .optional(),
    sasl: z
      .discriminatedUnion('mechanism', [
        z.strictObject({
          mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
          username: z.string(),
          password: z.string(),
        }),
        z.strictObject({ mechanism: z.literal('oauthbearer'), token: z.string() }),
      ])
      .optional(),
  })
  .superRefine((value, context) => {
    if (value.tls !== undefined && 'cert' in value.tls !== 'key' in value.tls) {
      context.addIssue({ code: 'custom', path: ['tls'], message: 'cert and key go together' });
    }
    const remote = value.brokers.find((broker) => !/^(?:127\.|localhost:|\[::1\])/.test(broker));
    if (value.tls !== undefined && 'insecure' in value.tls && value.tls.insecure === true && remote !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['tls', 'insecure'],
        message: `refused for ${remote}: certificates are only left unchecked on the loopback`,
      });
    }
  });

const postgres = z.strictObject({
  primary: postgresUrl,
  replicas: z
    .array(z.strictObject({ name: z.string().min(1), url: postgresUrl, maxLag: durationMs.default(5000) }))
    .default([]),
  pool: z.strictObject({ max: count.max(100).default(4), statementTimeout: durationMs.default(30_000) }).prefault({}),
  backups: backups.optional(),
});

const redis = z.strictObject({
  url: connectionUrl(['redis', 'rediss']),
  fallback: z
    .strictObject({
      cache: z.enum(['postgres']).default('postgres'),
      sessions: z.enum(['postgres']).default('postgres'),
      rateLimits: z.enum(['postgres', 'local', 'open', 'closed']).default('postgres'),
    })
    .prefault({}),
});

const bigquery = z
  .strictObject({
    project: z.string().regex(/^[a-z0-9.:-]{1,200}$/, 'not a project id'),
    dataset: z.string().regex(/^\w{1,1024}$/, 'not a dataset name: letters, digits and _'),
    table: z
      .string()
      .regex(/^\w{1,1024}$/, 'not a table name: letters, digits and _')
      .default('events'),
    location: z.string().optional(),
    write: z.enum(['storage', 'load']).default('storage'),
    /** write: load: the least time from one load job of the table to the next, over all processes of the role. */
    loadInterval: durationMs.default(60_000),
    expiry: durationMs.optional(),
    columns: warehouseColumns.optional(),
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
    grpcEndpoint: z
      .string()
      .regex(/^(?:https?:\/\/)?[^\s:/@]+:\d{1,5}$/, 'not host:port')
      .transform((text) => text.replace(/^https?:\/\//, ''))
      .optional(),
  })
  .superRefine((value, context) => {
    if (value.write === 'storage' && value.endpoint !== undefined && value.grpcEndpoint === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['grpcEndpoint'],
        message: 'write: storage with an endpoint needs grpcEndpoint too (the Storage Write API is gRPC)',
      });
    }
    if (value.endpoint === undefined && value.loadInterval < 60_000) {
      context.addIssue({
        code: 'custom',
        path: ['loadInterval'],
        message: 'below 60s a table runs out of its 1,500 load jobs a day',
      });
    }
  });

const rateLimit = z.strictObject({
  limit: count,
  window: durationMs,
  by: z.enum(['token', 'ip', 'user', 'key']),
  whenRedisIsDown: z.enum(['postgres', 'local', 'open', 'closed']).optional(),
});

const alerts = z.strictObject({
  lag: z.strictObject({ time: durationMs, lossIn: durationMs }).partial().optional(),
  disk: z
    .strictObject({ usedPercent: z.number().gt(0).max(100), fullIn: durationMs })
    .partial()
    .optional(),
  replica: z.strictObject({ lag: durationMs }).partial().optional(),
  backup: z.strictObject({ age: durationMs, verifiedAge: durationMs }).partial().optional(),
});

/** A context is an overlay on the whole file: checked after it is laid over it, so anything goes here. */
const context = z.looseObject({ protected: z.boolean().optional() });

export const configSchema = z
  .strictObject({
    pipeline: z.string().min(1).max(100),
    kafka,
    topics: z.record(topicName, topic).default({}),
    roles: z
      .strictObject({ events: eventsRole.optional(), logs: logsRole.optional(), analytics: analyticsRole.optional() })
      .default({}),
    postgres: postgres.optional(),
    redis: redis.optional(),
    bigquery: bigquery.optional(),
    rateLimits: z.record(identifier, rateLimit).default({}),
    alerts: alerts.default({}),
    contexts: z.record(z.string().min(1), context).default({}),
    /** Set by a context. */
    protected: z.boolean().default(false),
  })
  .superRefine((config, issues) => {
    for (const name of ['events', 'logs'] as const) {
      if (config.roles[name] !== undefined && config.postgres === undefined) {
        issues.addIssue({ code: 'custom', path: ['roles', name], message: `role ${name} needs a postgres section` });
      }
    }
    if (config.roles.analytics !== undefined && config.bigquery === undefined) {
      issues.addIssue({
        code: 'custom',
        path: ['roles', 'analytics'],
        message: 'role analytics needs a bigquery section',
      });
    }
    const roles = [config.roles.events, config.roles.logs, config.roles.analytics].filter((role) => role !== undefined);
    const groups = roles.map((role) => role.group);
    for (const [index, group] of groups.entries()) {
      if (groups.indexOf(group) !== index) {
        issues.addIssue({ code: 'custom', path: ['roles'], message: `two roles share the group ${group}` });
      }
    }
    for (const role of roles) {
      if (role.deadLetters === role.topic) {
        issues.addIssue({ code: 'custom', path: ['roles'], message: `dead letters of ${role.topic} would go into it` });
      }
    }
    const events = config.roles.events;
    const tables = new Set(events?.projections.map((entry) => entry.table.split('.')[1]));
    for (const [index, entity] of (events?.cache?.entities ?? []).entries()) {
      if (!tables.has(entity)) {
        issues.addIssue({
          code: 'custom',
          path: ['roles', 'events', 'cache', 'entities', index],
          message: `no projection writes a table ${entity}`,
        });
      }
    }
  });

export type ConfigDocument = z.output<typeof configSchema>;
export type TopicConfig = ConfigDocument['topics'][string];
export type ProjectionConfig = z.output<typeof projection>;
export type ColumnType = (typeof columnTypes)[number];
export type BigQueryConfig = z.output<typeof bigquery>;
export type WarehouseColumns = z.output<typeof warehouseColumns>;
export const roleNames = ['events', 'logs', 'analytics'] as const;
export type RoleName = (typeof roleNames)[number];
