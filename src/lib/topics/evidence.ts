import type { RoleName } from '../config/schema.ts';
import type { ClusterAdmin, PositionReader, RecordTimeReader, TopicPartition } from '../ports.ts';
import type { KeySample } from './key-moves.ts';
import type { TopicDeclarations, TopicSpec } from './spec.ts';

/** What a topic's planned changes would mean, as far as it could be seen. */
export interface TopicEvidence {
  readonly expiry?: Expiry;
  readonly keys?: KeySample;
  /** On disk, of each partition's largest replica. */
  readonly bytes?: ReadonlyMap<number, bigint>;
  /** From the log's start to its end. */
  readonly records?: bigint;
}

/** What a shorter retention would delete. */
export interface Expiry {
  /** Older than the new retention. */
  readonly records: bigint;
  /** Of each partition's bytes, the share that these offsets are of its log; null: no broker told the sizes. */
  readonly bytes: bigint | null;
  /** Of these, not yet read by a role. */
  readonly unread: readonly { readonly role: RoleName; readonly records: bigint }[];
  /** Roles that have read all of these and are behind all the same: the age of the oldest record they have not read. */
  readonly behind: readonly { readonly role: RoleName; readonly ageMs: number }[];
}

/** Where evidence is looked for, beyond what `ClusterAdmin` tells. */
export interface EvidenceSources {
  readonly partitionSizes: (topic: string) => Promise<ReadonlyMap<number, bigint>>;
  readonly sampleKeys: (topic: string) => Promise<KeySample>;
  readonly records: RecordTimeReader;
  /** Where roles keep their positions that write to PostgreSQL; null: kpipe.yaml has none. */
  readonly positions: PositionReader | null;
}

/** What has to be looked at of one topic. */
export interface EvidenceQuestion {
  readonly spec: Pick<TopicSpec, 'name' | 'origin' | 'roles'>;
  readonly partitions: number;
  /** The new retention, where it is shorter. */
  readonly retentionMs?: number;
  readonly wantsKeys: boolean;
  readonly wantsBytes: boolean;
  readonly wantsRecords: boolean;
}

export interface EvidenceContext {
  readonly admin: ClusterAdmin;
  readonly sources: EvidenceSources | undefined;
  readonly roles: TopicDeclarations['roles'];
  readonly nowMs: number;
}

/** Looks at one topic. Without sources it is the records that are counted, and positions are the groups' commits. */
export async function gatherEvidence(question: EvidenceQuestion, context: EvidenceContext): Promise<TopicEvidence> {
  const { spec, partitions: count, retentionMs } = question;
  const { sources } = context;
  const partitions = Array.from({ length: count }, (_, partition) => ({ topic: spec.name, partition }));
  const needsBytes = question.wantsBytes || retentionMs !== undefined;
  const [bytes, keys, records] = await Promise.all([
    needsBytes ? sources?.partitionSizes(spec.name) : undefined,
    question.wantsKeys ? sources?.sampleKeys(spec.name) : undefined,
    question.wantsRecords ? countRecords(context.admin, partitions) : undefined,
  ]);
  const expiry =
    retentionMs === undefined
      ? undefined
      : await expiring(partitions, { question, context, bytes, cutoffMs: context.nowMs - retentionMs });
  return {
    ...(bytes === undefined ? {} : { bytes }),
    ...(keys === undefined ? {} : { keys }),
    ...(records === undefined ? {} : { records }),
    ...(expiry === undefined ? {} : { expiry }),
  };
}

async function countRecords(admin: ClusterAdmin, partitions: readonly TopicPartition[]): Promise<bigint> {
  const [starts, ends] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
  ]);
  return sum(ends.map(({ offset }, index) => length(starts[index]?.offset ?? 0n, offset ?? 0n)));
}

interface Cutoff {
  readonly question: EvidenceQuestion;
  readonly context: EvidenceContext;
  readonly bytes: ReadonlyMap<number, bigint> | undefined;
  readonly cutoffMs: number;
}

interface ExpiringRange extends TopicPartition {
  readonly start: bigint;
  /** The first offset that stays. */
  readonly cut: bigint;
  readonly end: bigint;
}

async function expiring(partitions: readonly TopicPartition[], cutoff: Cutoff): Promise<Expiry> {
  const { question, context, bytes, cutoffMs } = cutoff;
  const { admin } = context;
  const roles = question.spec.origin === 'declared' ? question.spec.roles : [];
  const [starts, ends, cuts, ...positions] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
    admin.listOffsets(partitions, { timestampMs: cutoffMs }),
    ...roles.map((role) => positionsOf(role, question.spec.name, context)),
  ]);
  const ranges = partitions.map((partition, index): ExpiringRange => {
    const start = starts[index]?.offset ?? 0n;
    const end = ends[index]?.offset ?? start;
    // No record as young as the cutoff: all of them expire.
    return { ...partition, start, end, cut: cuts[index]?.offset ?? end };
  });
  const readers = roles.map((role, index) => ({ role, positions: positions[index] ?? new Map<number, bigint>() }));
  const unread = readers.map(({ role, positions: at }) => ({
    role,
    records: sum(ranges.map(({ partition, start, cut }) => length(larger(at.get(partition) ?? start, start), cut))),
  }));
  const safe = readers.filter((_, index) => unread[index]?.records === 0n);
  return {
    records: sum(ranges.map(({ start, cut }) => length(start, cut))),
    bytes: bytes === undefined ? null : sum(ranges.map((range) => shareOf(bytes.get(range.partition) ?? 0n, range))),
    unread: unread.filter(({ records }) => records > 0n),
    behind: await agesBehind(safe, ranges, context),
  };
}

/** Segments are not told apart from outside: records of one log are taken to be of one size. */
function shareOf(bytes: bigint, { start, cut, end }: ExpiringRange): bigint {
  return end > start ? (bytes * length(start, cut)) / (end - start) : 0n;
}

interface Reader {
  readonly role: RoleName;
  readonly positions: ReadonlyMap<number, bigint>;
}

/** A role's true positions: PostgreSQL's where its sink is there and answers, else the group's commits. */
async function positionsOf(
  role: RoleName,
  topic: string,
  { admin, sources, roles }: EvidenceContext,
): Promise<ReadonlyMap<number, bigint>> {
  if (roles[role]?.sink === 'postgres' && sources !== undefined && sources.positions !== null) {
    const stored = await sources.positions.positions(role);
    if (stored.kind === 'known') {
      const ofTopic = stored.positions.filter((position) => position.topic === topic);
      return new Map(ofTopic.map(({ partition, position }) => [partition, position]));
    }
  }
  const commits = await admin.committedOffsets(roles[role]?.group ?? '');
  return new Map(
    commits.filter((commit) => commit.topic === topic).map(({ partition, offset }) => [partition, offset]),
  );
}

async function agesBehind(
  readers: readonly Reader[],
  ranges: readonly ExpiringRange[],
  { sources, nowMs }: EvidenceContext,
): Promise<Expiry['behind']> {
  if (sources === undefined) {
    return [];
  }
  const found = await Promise.all(
    readers.map(async ({ role, positions }) => {
      const open = ranges.flatMap(({ topic, partition, start, end }) => {
        const position = larger(positions.get(partition) ?? start, start);
        return position < end ? [{ topic, partition, position }] : [];
      });
      const answers = await sources.records.firstUnread(open);
      const times = answers.flatMap((answer) => (answer.kind === 'record' ? [answer.timestampMs] : []));
      return times.length === 0 ? [] : [{ role, ageMs: Math.max(0, nowMs - Math.min(...times)) }];
    }),
  );
  return found.flat();
}

const larger = (left: bigint, right: bigint): bigint => (left > right ? left : right);
const length = (start: bigint, end: bigint): bigint => (end > start ? end - start : 0n);
const sum = (numbers: readonly bigint[]): bigint => numbers.reduce((total, each) => total + each, 0n);
