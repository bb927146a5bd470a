import { messageOf } from '../errors.ts';
import { causes, field, textField } from './causes.ts';

/**
 * What a user was refused, as `kafka-acls` names it. A broker says only of which kind of resource it was; the operation
 * follows from the request, as the broker checks it (Kafka's documentation, "Operations and Resources on Protocols").
 */
export interface MissingRight {
  /** `Describe`, `Read`, …; null: the request does not tell. */
  readonly operation: string | null;
  readonly resource: Resource;
  /** Null: of the cluster, or the broker does not say which. */
  readonly name: string | null;
  /** `TOPIC_AUTHORIZATION_FAILED`, … */
  readonly id: string;
}

type Resource = 'topic' | 'group' | 'transactional id' | 'cluster';

const resources: Readonly<Record<string, Resource>> = {
  TOPIC_AUTHORIZATION_FAILED: 'topic',
  GROUP_AUTHORIZATION_FAILED: 'group',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'transactional id',
  CLUSTER_AUTHORIZATION_FAILED: 'cluster',
};

/** By request and resource. What is not here needs `Describe`, where there is such a right, or is told without. */
const operations: Readonly<Record<string, Partial<Readonly<Record<Resource, string>>>>> = {
  Metadata: { topic: 'Describe' },
  ListOffsets: { topic: 'Describe' },
  Fetch: { topic: 'Read' },
  Produce: { topic: 'Write' },
  // A transactional id is looked for only to write with it; Write includes Describe.
  FindCoordinator: { group: 'Describe', 'transactional id': 'Write' },
  OffsetFetch: { group: 'Describe', topic: 'Describe' },
  OffsetCommit: { group: 'Read', topic: 'Read' },
  OffsetDelete: { group: 'Delete', topic: 'Read' },
  JoinGroup: { group: 'Read' },
  SyncGroup: { group: 'Read' },
  Heartbeat: { group: 'Read' },
  LeaveGroup: { group: 'Read' },
  ConsumerGroupHeartbeat: { group: 'Read', topic: 'Describe' },
  ConsumerGroupDescribe: { group: 'Describe', topic: 'Describe' },
  DescribeGroups: { group: 'Describe' },
  ListGroups: { group: 'Describe', cluster: 'Describe' },
  DeleteGroups: { group: 'Delete' },
  CreateTopics: { cluster: 'Create', topic: 'Create' },
  CreatePartitions: { topic: 'Alter' },
  DeleteTopics: { topic: 'Delete' },
  DeleteRecords: { topic: 'Delete' },
  DescribeConfigs: { topic: 'DescribeConfigs', cluster: 'DescribeConfigs' },
  IncrementalAlterConfigs: { topic: 'AlterConfigs', cluster: 'AlterConfigs' },
  DescribeLogDirs: { cluster: 'Describe' },
  DescribeQuorum: { cluster: 'Describe' },
  ElectLeaders: { cluster: 'Alter' },
  AlterPartitionReassignments: { cluster: 'Alter' },
  ListPartitionReassignments: { cluster: 'Describe' },
};

/** The rights that @platformatic/kafka's error tells are missing, each once. */
export function missingRights(error: unknown): readonly MissingRight[] {
  const all = causes(error);
  const answer = all.find((cause) => requestOf(cause) !== undefined);
  const request = requestOf(answer) ?? '';
  const response = field(answer, 'response');
  const rights = all.flatMap((cause) => {
    const id = textField(cause, 'apiId') ?? '';
    const resource = resources[id];
    if (resource === undefined) {
      return [];
    }
    const operation = operations[request]?.[resource] ?? null;
    return [{ operation, resource, name: nameAt(response, textField(cause, 'path') ?? '', resource), id }];
  });
  return [...new Map(rights.map((right) => [rightText(right), right])).values()];
}

/** The driver's errors name it in their text. */
function requestOf(error: unknown): string | undefined {
  return textField(error, 'request') ?? /\bAPI (\w+)\(/.exec(messageOf(error))?.[1];
}

/** `no right to Describe group g (GROUP_AUTHORIZATION_FAILED)` */
export function rightText({ operation, resource, name, id }: MissingRight): string {
  const on = resource === 'cluster' ? 'the cluster' : name === null ? `the ${resource}` : `${resource} ${name}`;
  return operation === null ? `no right to ${on} (${id})` : `no right to ${operation} ${on} (${id})`;
}

/** The command that grants them. */
export function grantNext(rights: readonly MissingRight[]): string {
  const [first] = rights;
  if (first === undefined || first.operation === null) {
    return 'grant this user the right (kafka-acls), or use another in kafka.sasl; docs/kafka-security.md lists them';
  }
  const option = first.resource.replace(' ', '-');
  const on = first.resource === 'cluster' ? '--cluster' : `--${option} ${first.name ?? 'NAME'}`;
  const grant = `kafka-acls --add --allow-principal User:NAME --operation ${first.operation} ${on}`;
  return `${grant}, or use another user in kafka.sasl; docs/kafka-security.md lists what each command needs`;
}

const naming = ['name', 'topicName', 'groupId', 'key', 'resourceName'] as const;

/** What `/topics/0/partitions/3` of the answer is of: the first name on the way. */
function nameAt(response: unknown, path: string, resource: Resource): string | null {
  if (resource === 'cluster') {
    return null;
  }
  let at = response;
  for (const step of path.split('/').filter((part) => part !== '')) {
    at = field(at, step);
    const name = naming.map((key) => field(at, key)).find((value) => typeof value === 'string' && value !== '');
    if (typeof name === 'string') {
      return name;
    }
  }
  return null;
}
