import { stringify } from 'yaml';

import { roleNames, type RoleName } from '../config/schema.ts';
import { roleTexts, topicsSection } from './pipeline-sections.ts';

/** What `kpipe init` writes: a whole kpipe.yaml in which every key is explained where it stands. */
export interface TemplateChoices {
  readonly pipeline: string;
  readonly brokers: readonly string[];
  /** null: the three topics of the pipeline. */
  readonly topics: Readonly<Record<string, TopicEntry>> | null;
}

/** A topic as `topics:` has it. */
export interface TopicEntry {
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly retention?: string;
  readonly config?: Readonly<Record<string, string>>;
}

export function configTemplate(choices: TemplateChoices): string {
  const roles = choices.topics === null ? [...roleNames] : roleNames.filter((role) => role in (choices.topics ?? {}));
  return [
    head(choices),
    choices.topics === null
      ? topicsSection({ replicationFactor: 3, minInsyncReplicas: 2 })
      : liveTopics(choices.topics),
    roleSection(roles),
    stores,
    limitsAndAlerts,
    contexts,
  ].join('\n');
}

function head({ pipeline, brokers }: TemplateChoices): string {
  return `# kpipe.yaml: what this pipeline is. \`kpipe doctor\` checks what it names, \`kpipe topics plan\` what it declares.
# Secrets never stand here: write \${env:NAME}, \${file:/path} or \${exec:command args} (no shell) in their place.
# Durations: 200ms, 30s, 5m, 6h, 7d. Sizes: 512kB, 8MB, 1GiB. Rates: 40MB/s.
pipeline: ${inline(pipeline)}

kafka:
  brokers: [${brokers.map(inline).join(', ')}]
  # tls: true                         # or {ca: ./ca.pem, cert: ./client.pem, key: ./client.key}, relative to this file
  # sasl: {mechanism: scram-sha-512, username: kpipe, password: '\${env:KAFKA_PASSWORD}'}   # or plain, scram-sha-256
  # sasl: {mechanism: oauthbearer, token: '\${exec:fetch-token}'}
  # connectTimeout: 5s
`;
}

function liveTopics(topics: Readonly<Record<string, TopicEntry>>): string {
  const note = `# As the cluster has them. Where a number follows from something, say so, and kpipe can tell you when it no longer fits:
#   partitions: {basis: consumers, consumers: 6}
#   partitions: {basis: throughput, target: 40MB/s, perPartition: 10MB/s}`;
  return `${note}\n${stringify({ topics })}`;
}

function roleSection(active: readonly RoleName[]): string {
  if (active.length === 0) {
    const all = roleNames.map((role) => roleTexts[role]).join('');
    return `# What reads the topics. Name a topic of yours, and take the # away.\nroles: {}\n${commented(`roles:\n${all}`)}`;
  }
  return `roles:\n${roleNames.map((role) => (active.includes(role) ? roleTexts[role] : commented(roleTexts[role]))).join('')}`;
}

function commented(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '# ');
}

const stores = `postgres:
  # The password by PGPASSFILE, or in the URL as \${env:…} or \${file:…}. Off this machine: ?sslmode=verify-full
  primary: 'postgres://kpipe@127.0.0.1:5432/kpipe'
  replicas: []
  #  - {name: replica1, url: 'postgres://kpipe@127.0.0.1:5433/kpipe', maxLag: 5s}   # beyond maxLag, reads go to the primary
  pool: {max: 4, statementTimeout: 30s}
  # backups:
  #   repository: ./backups           # or s3://bucket/prefix, with s3: {region, endpoint, …} (docs/backups.md)
  #   walArchive: {method: receivewal, slot: kpipe_wal}
  #   keep: {full: 7, window: 14d}
  #   encryption: {key: '\${file:./backup.key}'}
  #   verify: {queries: ['select count(*) > 0 from kpipe.events']}

redis:
  url: 'redis://127.0.0.1:6379/0'     # with TLS: rediss://
  # Who answers while Redis is away. Rate limits also: local | open | closed
  fallback: {cache: postgres, sessions: postgres, rateLimits: postgres}

bigquery:
  project: my-project
  dataset: analytics
  table: events
  write: storage                      # storage (Storage Write API) | load (load jobs)
  # endpoint: http://127.0.0.1:9050   # a stand-in; without it Google's, by application default credentials
  # grpcEndpoint: 127.0.0.1:9060      # the stand-in's Storage Write API
`;

const limitsAndAlerts = `rateLimits:
  ingest: {limit: 1000, window: 1s, by: token, whenRedisIsDown: local}
  login: {limit: 5, window: 1m, by: ip, whenRedisIsDown: postgres}

alerts:                               # what \`kpipe check\` calls a problem
  lag: {time: 5m, lossIn: 6h}
  disk: {usedPercent: 85, fullIn: 3d}
  replica: {lag: 30s}
  backup: {age: 26h, verifiedAge: 8d}
`;

const contexts = `# Overlays on all of the above: kpipe --context prod … or kpipe context use prod
# contexts:
#   prod:
#     protected: true                 # asks for the context's name before anything is changed
#     kafka: {brokers: ['\${env:PROD_BROKERS}']}
`;

/** A scalar inside [ ] or after a key, quoted where YAML needs it. */
function inline(text: string): string {
  return /^(?:[A-Za-z][\w.-]*|[\w.-]+:\d+)$/.test(text) && !/^(?:true|false|yes|no|on|off|null|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);
}
