import { formatCount, formatSize } from '../../config/units.ts';
import type { TopicConfig } from '../../config/schema.ts';
import type { TopicSpec } from '../spec.ts';
import { counted, nothingToDo, planCommands, type Advice, type Evidence, type YamlEdit } from './advice.ts';
import { confidenceOf, peakOf, type Peak, type TopicMeasure } from './measure.ts';

export interface PartitionsQuestion {
  readonly spec: TopicSpec;
  readonly declared: TopicConfig['partitions'];
  readonly measure: TopicMeasure;
  /** What the consumers should be able to take, over the peak: 1.5 is half as much again. */
  readonly headroom: number;
  /** What a partition is known to carry, from a benchmark; null: nobody measured it. */
  readonly perPartitionBytesPerSec: number | null;
}

/** More than that is no number to write down: something else is the bottleneck. */
const mostPartitions = 1000;

/**
 * partitions = max(peak in ÷ what a partition carries, peak × headroom ÷ what a consumer reads, consumers), of what is
 * known of these. Partitions cannot be taken away, so that only what is shown to be needed is advised.
 */
export function partitionsAdvice(question: PartitionsQuestion): Advice {
  const { spec, measure } = question;
  const peak = peakOf(measure);
  const terms = termsOf(question, peak);
  const needed = Math.max(0, ...terms.map(({ needs }) => needs ?? 0));
  const common = { rule: 'partitions', evidence: evidenceOf(question, peak, terms), ...nothingToDo } as const;
  const count = Math.max(spec.partitions.count, measure.partitions);
  if (needed > mostPartitions) {
    const summary = `${formatCount(needed)} partitions would be needed: make the consumers faster instead`;
    return { ...common, verdict: 'notice', summary, ...confidenceOf(measure) };
  }
  if (needed > count) {
    const reason = terms.find(({ needs }) => needs === needed)?.reason ?? '';
    return {
      ...common,
      verdict: 'change',
      summary: `${count} → ${needed}: ${reason}`,
      // Members that sit idle are counted, not sampled.
      ...(peak === null ? { confidence: 'certain', confidenceReason: null } : confidenceOf(measure)),
      costs: costsOf(question, needed),
      edits: [raise(question, needed)],
      commands: planCommands(spec.name),
    };
  }
  if (peak === null) {
    return { ...common, verdict: 'unknown', summary: `${count}: too idle to judge`, ...confidenceOf(measure) };
  }
  const enough = enoughOf(question, peak, terms);
  if (enough !== null && enough * 2 <= measure.partitions) {
    return {
      ...common,
      verdict: 'notice',
      summary: `over-partitioned: ${measure.partitions} where ${enough} would do. Kafka cannot take partitions away; smaller batches and more files are what it costs`,
      ...confidenceOf(measure),
    };
  }
  const silent = measure.readers.filter(({ recordsPerSec, members }) => !(recordsPerSec ?? 0) || !(members ?? 0));
  const carried =
    peak.bytesPerSec === null ? `${formatCount(peak.recordsPerSec)} records/s` : `${formatSize(peak.bytesPerSec)}/s`;
  if (silent.length > 0) {
    const confidenceReason = `role ${silent.map(({ role }) => role).join(', ')} did not read during the watch, or its members came and went`;
    const summary = `${count} took in the peak of ${carried}; whether they suffice to read it is not known`;
    return { ...common, verdict: 'unknown', summary, confidence: 'none', confidenceReason };
  }
  return { ...common, verdict: 'keep', summary: `${count} carried the peak of ${carried}`, ...confidenceOf(measure) };
}

interface Term {
  readonly what: string;
  /** null: not known. */
  readonly needs: number | null;
  /** The most that could be needed, where `needs` is not known or leaves no headroom; null: not known. */
  readonly atMost: number | null;
  readonly reason: string;
}

function termsOf({ declared, measure, headroom, ...question }: PartitionsQuestion, peak: Peak | null): readonly Term[] {
  const inBytes = peak?.bytesPerSec ?? null;
  const stated = question.perPartitionBytesPerSec ?? statedCapacity(declared);
  const proven = positive(measure.busiestPartitionBytesPerSec);
  const capacity = stated === null ? null : Math.max(stated, proven ?? 0);
  const readers = measure.readers.map((reader): Term => {
    const { role, members, recordsPerSec, saturated } = reader;
    const each = members === null || members === 0 ? null : positive((recordsPerSec ?? 0) / members);
    const needs = peak === null || each === null || !saturated ? null : divided(peak.recordsPerSec * headroom, each);
    // Who kept up at this rate can do that much again.
    const keptUp = each === null || peak === null ? null : divided(peak.recordsPerSec * headroom, each);
    return {
      what: `for role ${role}`,
      needs,
      atMost: needs ?? keptUp,
      reason: `role ${role} reads ${formatCount(each ?? 0)} records/s a consumer, and ${formatCount(peak?.recordsPerSec ?? 0)} × ${headroom} come in`,
    };
  });
  const consumers = Math.max(
    'basis' in declared && declared.basis === 'consumers' ? declared.consumers : 0,
    ...measure.readers.map(({ members }) => members ?? 0),
  );
  return [
    {
      what: 'for what comes in',
      needs: inBytes === null || capacity === null ? null : divided(inBytes, capacity),
      atMost: inBytes === null ? null : divided(inBytes * headroom, capacity ?? proven ?? 0),
      reason: `${formatSize(inBytes ?? 0)}/s come in, and a partition carries ${formatSize(capacity ?? 0)}/s`,
    },
    ...readers,
    {
      what: 'for the consumers',
      needs: consumers === 0 ? null : consumers,
      atMost: consumers === 0 ? 1 : consumers,
      reason: `${counted(consumers, 'consumer')} read it: those beyond the partitions have nothing to do`,
    },
  ];
}

/** The most that could be needed; null where some of it is not known. */
function enoughOf({ measure }: PartitionsQuestion, peak: Peak, terms: readonly Term[]): number | null {
  const bounds = terms.map(({ atMost }) => atMost);
  return peak.bytesPerSec === null || bounds.includes(null) || measure.readers.length === 0
    ? null
    : Math.max(1, ...bounds.map((bound) => bound ?? 0));
}

function statedCapacity(declared: TopicConfig['partitions']): number | null {
  return 'basis' in declared && declared.basis === 'throughput' ? declared.perPartition : null;
}

function positive(value: number | null): number | null {
  return value !== null && Number.isFinite(value) && value > 0 ? value : null;
}

/** Rounded up; a quotient that floats leave just above a whole number is that number. */
function divided(amount: number, by: number): number | null {
  return by > 0 ? Math.max(1, Math.ceil(Number((amount / by).toFixed(6)))) : null;
}

function evidenceOf(question: PartitionsQuestion, peak: Peak | null, terms: readonly Term[]): readonly Evidence[] {
  const { measure, declared, perPartitionBytesPerSec, spec } = question;
  const stated = perPartitionBytesPerSec ?? statedCapacity(declared);
  const how = peak?.how ?? 'nothing came in';
  return [
    { what: 'peak in', value: peak?.recordsPerSec ?? null, unit: 'records/s', how },
    {
      what: 'peak in',
      value: peak?.bytesPerSec ?? null,
      unit: 'B/s',
      how: peak?.bytesPerSec === null ? 'no batch was seen' : how,
    },
    {
      what: 'a partition carries',
      value: stated,
      unit: 'B/s',
      how:
        perPartitionBytesPerSec !== null
          ? 'given by --per-partition'
          : stated !== null
            ? 'declared as perPartition'
            : 'not measured: give what a benchmark showed as --per-partition',
    },
    {
      what: 'a partition carried',
      value: positive(measure.busiestPartitionBytesPerSec),
      unit: 'B/s',
      how: 'the busiest partition of the watch; it may carry more',
    },
    ...measure.readers.flatMap((reader): readonly Evidence[] => [
      {
        what: `consumers of role ${reader.role}`,
        value: reader.members,
        unit: 'consumers',
        how:
          reader.members === null ? 'the members came and went, or are not known' : `members of group ${reader.group}`,
      },
      {
        what: `role ${reader.role} reads`,
        value: reader.recordsPerSec,
        unit: 'records/s',
        how: readingHow(reader),
      },
    ]),
    ...terms.map(({ what, needs }): Evidence => ({
      what: `needed ${what}`,
      value: needs,
      unit: 'partitions',
      how: needs === null ? 'not known' : 'by the numbers above',
    })),
    { what: 'declared', value: spec.partitions.count, unit: 'partitions', how: `basis: ${spec.partitions.basis}` },
    { what: 'there are', value: measure.partitions, unit: 'partitions', how: 'the cluster' },
  ];
}

function readingHow({ recordsPerSec, saturated, leastLagRecords }: TopicMeasure['readers'][number]): string {
  if (recordsPerSec === null) {
    return 'no position of it moved, or it has none';
  }
  return saturated
    ? `never fewer than ${formatCount(leastLagRecords ?? 0)} records waited: this is what it can do`
    : 'it was not held up: it may read more';
}

function costsOf({ spec, measure }: PartitionsQuestion, needed: number): readonly string[] {
  const groups = measure.readers.map(({ group }) => group);
  const added = (needed - measure.partitions) * spec.replicationFactor;
  return [
    ...(spec.keyed
      ? [
          'keyed topic: key → partition mapping changes for new records; records of a key that are still unread may be applied out of order',
        ]
      : []),
    ...(groups.length === 0 ? [] : [`a rebalance of ${groups.join(', ')}`]),
    `${counted(Math.max(0, added), 'more replica')} on the brokers`,
    'cannot be taken back',
  ];
}

/** In the terms of the declared basis. */
function raise({ spec, declared, headroom, measure }: PartitionsQuestion, needed: number): YamlEdit {
  const path = ['topics', spec.name, 'partitions'];
  if (!('basis' in declared)) {
    return { path: [...path, 'count'], from: declared.count, to: needed };
  }
  switch (declared.basis) {
    case 'consumers':
      return { path: [...path, 'consumers'], from: declared.consumers, to: needed };
    case 'throughput': {
      const peak = peakOf(measure)?.bytesPerSec ?? 0;
      // Whole megabytes, so that the file stays readable; the count that follows is not more than was found.
      const target = Math.min(Math.max(peak * headroom, declared.target), needed * declared.perPartition);
      const least = (needed - 1) * declared.perPartition;
      const rounded = Math.ceil(target / 1_000_000) * 1_000_000;
      const to =
        rounded > least && rounded <= needed * declared.perPartition ? rounded : needed * declared.perPartition;
      return { path: [...path, 'target'], from: rateText(declared.target), to: rateText(to) };
    }
    case 'sink':
      return { path: [...path, 'count'], from: declared.count, to: needed };
  }
}

/** Exact, unlike `formatSize`: it is read back. */
function rateText(bytesPerSec: number): string {
  const [size, unit] = [[1_000_000, 'MB'] as const, [1000, 'kB'] as const, [1, 'B'] as const].find(
    ([each]) => bytesPerSec % each === 0,
  ) ?? [1, 'B'];
  return `${bytesPerSec / size}${unit}/s`;
}
