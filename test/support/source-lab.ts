import type { Kafka, Producer, RecordMetadata, Transaction } from 'kafkajs';
import { vi } from 'vitest';

import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { openSource } from '../../src/lib/kafka/open-source.ts';
import type { ClusterAdmin, TopicPartition } from '../../src/lib/ports.ts';
import { GroupMembers } from './group-members.ts';
import { ProcessMember } from './process-member.ts';
import { encodeProduced, type Codec, type ProducedRecord } from './record-batches.ts';
import { rawProduce } from './raw-produce.ts';
import { uniqueTopic } from './servers.ts';
import { seenEverywhere, topicsEverywhere } from './topics-everywhere.ts';
import { kafkaConfig, kafkaSections, type KafkaSettings, type SourceKind } from './source-kinds.ts';
import { Ledger, TestMember, type MemberOptions, type TimelineEntry } from './source-member.ts';

export interface LabMember extends Partial<Pick<MemberOptions, 'name' | 'ledger' | 'startAt'>> {
  readonly maxBytesPerPartition?: number;
  /** Of the `kafka` section. */
  readonly kafka?: KafkaSettings;
}

const sourceDefaults = { clientId: 'contract', maxBytesPerPartition: 1024 * 1024, maxWaitMs: 100 } as const;

/** A topic and a group of one test's own, and the members that it starts. */
export class SourceTrial {
  readonly topic: string;
  readonly group = uniqueTopic('contract-group');
  readonly ledger: Ledger;
  readonly timeline: TimelineEntry[] = [];
  readonly members: TestMember[] = [];
  readonly processes: ProcessMember[] = [];
  readonly #lab: SourceLab;

  constructor(lab: SourceLab, topic: string, startAt?: (partition: number) => bigint) {
    this.#lab = lab;
    this.topic = topic;
    this.ledger = new Ledger(startAt);
  }

  partition(partition: number): TopicPartition {
    return { topic: this.topic, partition };
  }

  /** Starts a member; it is stopped after the test. */
  async join(options: LabMember = {}): Promise<TestMember> {
    const source = await this.#lab.open(this.topic, this.group, options);
    const member = new TestMember({
      name: options.name ?? `member ${this.members.length + 1}`,
      source,
      ledger: options.ledger ?? this.ledger,
      timeline: this.timeline,
      patienceMs: this.#lab.patienceMs,
      ...(options.startAt === undefined ? {} : { startAt: options.startAt }),
    });
    this.members.push(member);
    return member;
  }

  /** Starts a member in a process of its own; it is killed after the test. */
  fork(kafka: KafkaSettings): ProcessMember {
    const member = new ProcessMember(
      {
        kind: this.#lab.kind,
        brokers: this.#lab.brokers,
        kafka,
        source: { ...sourceDefaults, topic: this.topic, group: this.group, instanceId: kafka.instanceId ?? null },
      },
      this.ledger,
    );
    this.processes.push(member);
    return member;
  }

  /** Waits until the members share so many partitions, each with at least one. */
  async shared(members: readonly TestMember[], partitions: number): Promise<void> {
    for (const member of members) {
      await member.until(`${partitions} partitions shared`, () => {
        const held = members.map((one) => one.held);
        return held.every((some) => some.length > 0) && new Set(held.flat()).size === partitions;
      });
    }
  }

  /** Waits until the ledger is at the log's end, and answers the ends. */
  async caughtUp(member: TestMember, ledger = this.ledger): Promise<readonly bigint[]> {
    const ends = await this.#lab.ends(this.topic);
    const text = (): string => ends.map((end, partition) => `${ledger.position(partition)} of ${end}`).join(', ');
    await member
      .until('all is read', () => ends.every((end, partition) => ledger.position(partition) >= end))
      .catch((error: unknown) => {
        throw new Error(`${String(error)}: ${text()}`, { cause: error });
      });
    return ends;
  }
}

/** What the contract's tests use of Kafka besides the source. */
export class SourceLab {
  readonly kind: SourceKind;
  readonly brokers: readonly string[];
  readonly config: KafkaConfig;
  readonly admin: ClusterAdmin;
  readonly kafka: Kafka;
  /** Of the members that are started from now on. */
  patienceMs = 90_000;
  /** What sources said to the operator. */
  readonly notices: string[] = [];
  readonly #producer: Producer;
  readonly #transactional: Producer[] = [];
  readonly #trials: SourceTrial[] = [];
  readonly #topics: string[] = [];

  private constructor(
    kind: SourceKind,
    config: KafkaConfig,
    opened: { readonly admin: ClusterAdmin; readonly kafka: Kafka; readonly producer: Producer },
  ) {
    this.kind = kind;
    this.brokers = config.brokers;
    this.config = config;
    this.admin = opened.admin;
    this.kafka = opened.kafka;
    this.#producer = opened.producer;
  }

  static async open(kind: SourceKind, brokers: readonly string[]): Promise<SourceLab> {
    const config = kafkaConfig(kind, brokers);
    const kafka = await createKafkaJs(config, 'contract');
    const producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 10 } });
    await producer.connect();
    return new SourceLab(kind, config, { admin: await openKafkaAdmin(config), kafka, producer });
  }

  open(topic: string, group: string, { maxBytesPerPartition, kafka }: LabMember) {
    return openSource(kafkaConfig(this.kind, this.brokers, kafka), {
      ...sourceDefaults,
      ...(maxBytesPerPartition === undefined ? {} : { maxBytesPerPartition }),
      topic,
      group,
      instanceId: kafka?.instanceId ?? null,
      notice: (text) => this.notices.push(text),
    });
  }

  /** A topic of one test's own, deleted at the end. */
  async trial(
    partitions: number,
    options: { readonly config?: Readonly<Record<string, string>>; startAt?: (partition: number) => bigint } = {},
  ): Promise<SourceTrial> {
    const trial = new SourceTrial(this, uniqueTopic('contract'), options.startAt);
    this.#trials.push(trial);
    await this.createTopic(trial.topic, partitions, options.config);
    return trial;
  }

  /** A trial with a topic that nobody makes. */
  unmade(topic: string): SourceTrial {
    const trial = new SourceTrial(this, topic);
    this.#trials.push(trial);
    return trial;
  }

  async createTopic(name: string, partitions: number, config: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#topics.push(name);
    const replicationFactor = Math.min(3, this.brokers.length);
    await this.admin.createTopic({ name, partitions, replicationFactor, config });
    // It is there when every broker knows it and every partition answers.
    await topicsEverywhere(this.config, [name]);
    await this.ends(name, partitions);
  }

  async ends(topic: string, partitions?: number): Promise<readonly bigint[]> {
    return vi.waitFor(
      async () => {
        const [description] = await this.admin.describeTopics([topic]);
        const all = description?.partitions ?? [];
        if (all.length === 0 || (partitions !== undefined && all.length !== partitions)) {
          throw new Error(`${topic} has ${all.length} partitions yet`);
        }
        const asked = all.map(({ partition }) => ({ topic, partition }));
        const answers = await this.admin.listOffsets(asked, 'latest');
        return answers
          .toSorted((left, right) => left.partition - right.partition)
          .map(({ offset }) => {
            if (offset === null) {
              throw new Error(`${topic} says no end yet`);
            }
            return offset;
          });
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  /** Waits for the log's end: the marker of a transaction is written after the commit is answered. */
  async ended(topic: string, end: bigint): Promise<void> {
    await vi.waitFor(
      async () => {
        const [found] = await this.ends(topic);
        if (found !== end) {
          throw new Error(`${topic}-0 ends at ${found}, not at ${end}`);
        }
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  /** One batch of plain text values; answers the offset of the first. */
  async produce(topic: string, partition: number, values: readonly string[]): Promise<bigint> {
    return baseOffset(
      await this.#producer.send({ topic, acks: -1, messages: values.map((value) => ({ partition, value })) }),
    );
  }

  /** One batch, byte for byte as it is made here. */
  async produceRaw(topic: string, records: readonly Partial<ProducedRecord>[], codec: Codec = 'none'): Promise<void> {
    const batch = encodeProduced(
      records.map((record) => ({ key: null, value: null, headers: [], timestampMs: Date.now(), ...record })),
      codec,
    );
    const [{ brokers }, [description]] = await Promise.all([
      this.admin.describeCluster(),
      this.admin.describeTopics([topic]),
    ]);
    const leader = brokers.find(({ id }) => id === description?.partitions[0]?.leader);
    if (leader === undefined) {
      throw new Error(`${topic}-0 has no leader`);
    }
    await rawProduce({ host: leader.host, port: leader.port, topic, partition: 0, batch });
  }

  /** Lets the group wait for a silent member no longer than this, where the brokers' bounds allow it. */
  async shortenSession(group: string, sessionMs: number): Promise<void> {
    if (kafkaSections[this.kind].group?.protocol === 'consumer') {
      const members = await GroupMembers.open(this.config, group);
      await members.setSession(sessionMs);
      await members.close();
    }
  }

  /** Waits until compaction has taken the record at offset 0, which had this timestamp. */
  async compactedUp(topic: string, timestampMs: number): Promise<void> {
    await vi.waitFor(
      async () => {
        const [first] = await this.admin.listOffsets([{ topic, partition: 0 }], { timestampMs });
        if (first?.offset === null || first?.offset === undefined || first.offset === 0n) {
          throw new Error(`${topic} is not compacted yet`);
        }
      },
      { timeout: 120_000, interval: 200 },
    );
  }

  /** Nobody may read the topic, or by the group, from now on. */
  deny(what: 'topic' | 'group', name: string): Promise<void> {
    return this.#forbid(what, name, 'READ');
  }

  /** Nobody may do anything with it, or know of it, from now on. */
  hide(what: 'topic' | 'group', name: string): Promise<void> {
    return this.#forbid(what, name, 'ALL');
  }

  async #forbid(what: 'topic' | 'group', name: string, operation: 'READ' | 'ALL'): Promise<void> {
    const { default: kafkajs } = await import('kafkajs');
    const { AclOperationTypes: operations, AclPermissionTypes: permissions } = kafkajs;
    const acl = {
      resourceType: kafkajs.AclResourceTypes[what === 'topic' ? 'TOPIC' : 'GROUP'],
      resourceName: name,
      resourcePatternType: kafkajs.ResourcePatternTypes.LITERAL,
      principal: 'User:ANONYMOUS',
      host: '*',
    };
    const admin = this.kafka.admin();
    await admin.connect();
    await admin.createAcls({
      acl: [
        { ...acl, operation: operations.ALL, permissionType: permissions.ALLOW },
        { ...acl, operation: operations[operation], permissionType: permissions.DENY },
      ],
    });
    // The broker hears of it after the controller has answered.
    await vi.waitUntil(
      async () => {
        const { resources } = await admin.describeAcls({
          resourceType: acl.resourceType,
          resourceName: name,
          resourcePatternType: acl.resourcePatternType,
          permissionType: permissions.DENY,
          operation: operations[operation],
        });
        return resources.length > 0;
      },
      { timeout: 60_000, interval: 100 },
    );
    await admin.disconnect();
  }

  /** As `kafka-delete-records` does. */
  async deleteBefore(topic: string, partition: number, offset: bigint): Promise<void> {
    const admin = this.kafka.admin();
    await admin.connect();
    // kafkajs' admin must have been told of the topic before.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] });
    await admin.disconnect();
  }

  /** Deletes it, and makes another of its name. */
  async recreate(topic: string, partitions: number): Promise<void> {
    const id = async (broker: ClusterAdmin): Promise<string | undefined> =>
      (await broker.describeTopics([topic]))[0]?.id;
    const before = await id(this.admin);
    await this.admin.deleteTopic(topic);
    await seenEverywhere(this.config, async (broker) => (await id(broker)) === undefined);
    await this.createTopic(topic, partitions);
    await seenEverywhere(this.config, async (broker) => ![undefined, before].includes(await id(broker)));
  }

  /** Its transactions may overlap with those of other producers. */
  async transactional(): Promise<Producer> {
    const transactionalId = uniqueTopic('contract-tx');
    const producer = this.kafka.producer({
      transactionalId,
      idempotent: true,
      maxInFlightRequests: 1,
      retry: { retries: 20 },
    });
    this.#transactional.push(producer);
    await producer.connect();
    return producer;
  }

  /** After each test: the members leave, and what they broke of the port's promises is told. */
  async endTrials(): Promise<readonly string[]> {
    const trials = this.#trials.splice(0);
    const members = trials.flatMap((trial) => trial.members);
    await Promise.all(trials.flatMap(({ processes }) => processes.map((member) => member.kill())));
    await Promise.all(members.map((member) => member.stop()));
    await Promise.all(this.#transactional.splice(0).map((producer) => producer.disconnect()));
    return members.flatMap(({ name, violations }) => violations.map((violation) => `${name}: ${violation}`));
  }

  async close(): Promise<void> {
    await this.endTrials();
    await this.#producer.disconnect();
    // Not after each test: kafkajs' producer asks for every topic that it has sent to.
    await Promise.all(this.#topics.map((topic) => this.admin.deleteTopic(topic).catch(() => undefined)));
    await this.admin.close();
  }
}

/** `name-0`, `name-1`, … */
export function numbered(name: string, count: number, from = 0): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${name}-${from + index}`);
}

/** One batch in partition 0; answers the offset of the first. */
export async function sendIn(transaction: Transaction, topic: string, values: readonly string[]): Promise<bigint> {
  return baseOffset(
    await transaction.send({ topic, acks: -1, messages: values.map((value) => ({ partition: 0, value })) }),
  );
}

function baseOffset([answer]: readonly RecordMetadata[]): bigint {
  return BigInt(answer?.baseOffset ?? -1);
}
