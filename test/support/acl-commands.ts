import { readFileSync } from 'node:fs';

import kafkajs, { type AclEntry, type AclOperationTypes, type Admin } from 'kafkajs';

/** A line `kafka-acls --add …`, taken apart. */
export interface Grant {
  readonly principal: string;
  /** As kafka-acls names it: `Read`, `DescribeConfigs`. */
  readonly operation: string;
  readonly resource: 'topic' | 'group' | 'transactional-id' | 'cluster';
  readonly name: string;
  readonly prefixed: boolean;
}

/** The `kafka-acls` lines of a page, by the heading (`###`) that they stand under. */
export function grantsOf(page: string): ReadonlyMap<string, readonly Grant[]> {
  const sections = readFileSync(page, 'utf8').split(/^### /m).slice(1);
  return new Map(
    sections.map((section) => [
      section.slice(0, section.indexOf('\n')),
      [...section.matchAll(/^kafka-acls (--add .*)$/gm)].map((line) => grantIn(line[1] ?? '')),
    ]),
  );
}

function grantIn(line: string): Grant {
  const option = (name: string): string | undefined => new RegExp(`--${name} '?([^' ]+)`).exec(line)?.[1];
  const resource = (['topic', 'group', 'transactional-id'] as const).find((name) => option(name) !== undefined);
  return {
    principal: option('allow-principal') ?? '',
    operation: option('operation') ?? '',
    resource: resource ?? 'cluster',
    name: resource === undefined ? 'kafka-cluster' : (option(resource) ?? ''),
    prefixed: option('resource-pattern-type') === 'prefixed',
  };
}

const operations: Readonly<Record<string, AclOperationTypes>> = {
  Read: kafkajs.AclOperationTypes.READ,
  Write: kafkajs.AclOperationTypes.WRITE,
  Create: kafkajs.AclOperationTypes.CREATE,
  Delete: kafkajs.AclOperationTypes.DELETE,
  Alter: kafkajs.AclOperationTypes.ALTER,
  Describe: kafkajs.AclOperationTypes.DESCRIBE,
  DescribeConfigs: kafkajs.AclOperationTypes.DESCRIBE_CONFIGS,
  AlterConfigs: kafkajs.AclOperationTypes.ALTER_CONFIGS,
};

const resources = {
  topic: kafkajs.AclResourceTypes.TOPIC,
  group: kafkajs.AclResourceTypes.GROUP,
  'transactional-id': kafkajs.AclResourceTypes.TRANSACTIONAL_ID,
  cluster: kafkajs.AclResourceTypes.CLUSTER,
} as const;

export async function grant(admin: Admin, grants: readonly Grant[]): Promise<void> {
  const { ALLOW } = kafkajs.AclPermissionTypes;
  const { LITERAL, PREFIXED } = kafkajs.ResourcePatternTypes;
  const entries = grants.map(({ principal, operation, resource, name, prefixed }): AclEntry => ({
    principal,
    host: '*',
    operation: operations[operation] ?? kafkajs.AclOperationTypes.UNKNOWN,
    permissionType: ALLOW,
    resourceType: resources[resource],
    resourceName: name,
    resourcePatternType: prefixed ? PREFIXED : LITERAL,
  }));
  await admin.createAcls({ acl: entries });
}
